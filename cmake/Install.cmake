# For packages (DESTDIR=... cmake --install, cpack): files only. The group, the capability and the user
# of the service are the package's scripts' (pkg/proxyvpn-package.in) or install.sh's to make, on the
# machine where it is installed.
include(GNUInstallDirs)
find_program(GZIP_PROGRAM gzip)

# Where the settings are looked for, whatever the prefix is.
set(PROXYVPN_CONFIG_DIR /etc/proxyvpn)
# systemd's own directories are lib/..., also where libraries go to lib64 or lib/x86_64-linux-gnu.
set(PROXYVPN_LIBEXECDIR lib/proxyvpn)
set(generated ${CMAKE_BINARY_DIR}/pkg)

# What is made when it is installed, as only then the prefix is known (--prefix, cpack).
configure_file(cmake/InstallTime.cmake.in ${generated}/InstallTime.cmake @ONLY)
if(TARGET proxyvpn)
  file(GENERATE OUTPUT ${generated}/Programs.cmake CONTENT "set(PROXYVPN_PROGRAM \"$<TARGET_FILE:proxyvpn>\")\n")
else()
  file(WRITE ${generated}/Programs.cmake "set(PROXYVPN_PROGRAM \"\")\n")
endif()
install(SCRIPT ${generated}/InstallTime.cmake)

if(TARGET proxyvpn)
  # Not for everybody: docs/security.md.
  install(TARGETS proxyvpn RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR}
          PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE)
endif()
if(TARGET proxyvpn-selftest)
  install(TARGETS proxyvpn-selftest RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
install(DIRECTORY ${generated}/man/ DESTINATION ${CMAKE_INSTALL_MANDIR})
install(DIRECTORY ${generated}/completions/ DESTINATION ${CMAKE_INSTALL_DATAROOTDIR})
file(GLOB schemas ${CMAKE_SOURCE_DIR}/docs/*.schema.json)   # of what --json prints
install(FILES README.md CHANGELOG.md docs/troubleshooting.md ${schemas} pkg/grafana-dashboard.json
        DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DATAROOTDIR}/licenses/proxyvpn)
# It is compiled in, and its licence wants to go where the program goes.
install(FILES ${lwip_dir}/COPYING DESTINATION ${CMAKE_INSTALL_DATAROOTDIR}/licenses/proxyvpn RENAME LICENSE.lwip OPTIONAL)

install(FILES ${generated}/proxyvpn.service ${generated}/proxyvpn-early-boot.service
        DESTINATION lib/systemd/system)
install(PROGRAMS ${generated}/service-stop ${generated}/package DESTINATION ${PROXYVPN_LIBEXECDIR})
install(FILES pkg/proxyvpn.tmpfiles DESTINATION lib/tmpfiles.d RENAME proxyvpn.conf)
install(FILES pkg/proxyvpn.sysusers DESTINATION lib/sysusers.d RENAME proxyvpn.conf)
install(FILES pkg/proxyvpn.env DESTINATION ${PROXYVPN_CONFIG_DIR}
        PERMISSIONS OWNER_READ OWNER_WRITE GROUP_READ)
