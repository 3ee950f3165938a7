# For packages (DESTDIR=... cmake --install): files only. The group, the capability and the user of the
# service are the package's scripts' or install.sh's to make, on the machine where it is installed.
include(GNUInstallDirs)
set(BINDIR ${CMAKE_INSTALL_FULL_BINDIR})
set(LIBEXECDIR ${CMAKE_INSTALL_PREFIX}/lib/proxyvpn)

if(TARGET proxyvpn)
  # Not for everybody: docs/security.md.
  install(TARGETS proxyvpn RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR}
          PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE)
endif()
if(TARGET proxyvpn-selftest)
  install(TARGETS proxyvpn-selftest RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
install(FILES docs/proxyvpn.8 docs/proxyvpn-selftest.8 DESTINATION ${CMAKE_INSTALL_MANDIR}/man8)
install(FILES README.md CHANGELOG.md docs/troubleshooting.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DATAROOTDIR}/licenses/proxyvpn)

# systemd's own directories are lib/..., also where libraries go to lib64 or lib/x86_64-linux-gnu.
foreach(unit proxyvpn.service proxyvpn-early-boot.service)
  if(EXISTS ${CMAKE_SOURCE_DIR}/pkg/${unit}.in)
    configure_file(pkg/${unit}.in ${CMAKE_BINARY_DIR}/pkg/${unit} @ONLY)
    install(FILES ${CMAKE_BINARY_DIR}/pkg/${unit} DESTINATION lib/systemd/system)
  endif()
endforeach()
configure_file(pkg/proxyvpn-service-stop.in ${CMAKE_BINARY_DIR}/pkg/service-stop @ONLY)
install(PROGRAMS ${CMAKE_BINARY_DIR}/pkg/service-stop DESTINATION lib/proxyvpn)
install(FILES pkg/proxyvpn.tmpfiles DESTINATION lib/tmpfiles.d RENAME proxyvpn.conf)
install(FILES pkg/proxyvpn.sysusers DESTINATION lib/sysusers.d RENAME proxyvpn.conf)
install(FILES pkg/proxyvpn.env DESTINATION ${CMAKE_INSTALL_SYSCONFDIR}/proxyvpn
        PERMISSIONS OWNER_READ OWNER_WRITE GROUP_READ)
