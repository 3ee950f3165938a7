# .deb and .rpm through CPack, from a built tree:
#   cpack --config build/release/CPackConfig.cmake -G DEB        (or RPM; scripts/package.sh does it all)
# What each needs of its own is in pkg/deb and pkg/rpm; what their scripts share in pkg/proxyvpn-package.in.
set(PROXYVPN_PACKAGE_CONTACT "proxyvpn developers <proxyvpn@users.noreply.github.com>" CACHE STRING
    "Who answers for the packages made here: Name <address>")
set(PROXYVPN_PACKAGE_RELEASE 1 CACHE STRING "Number of the package of this version")
mark_as_advanced(PROXYVPN_PACKAGE_CONTACT PROXYVPN_PACKAGE_RELEASE)

set(CPACK_GENERATOR DEB)
set(CPACK_SOURCE_GENERATOR TXZ)
set(CPACK_PACKAGE_NAME proxyvpn)
set(CPACK_PACKAGE_CONTACT "${PROXYVPN_PACKAGE_CONTACT}")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "every TCP connection of a machine through an HTTP proxy")
set(CPACK_PACKAGE_VENDOR "proxyvpn developers")
set(CPACK_PACKAGE_DESCRIPTION "Firewall rules and a TUN device lead every TCP connection of this
machine, IPv4 and IPv6, through a proxy that accepts CONNECT, without
touching an application. A killswitch keeps whatever does not go through
the proxy from leaving, also when the proxy or proxyvpn itself dies.")
set(CPACK_RESOURCE_FILE_LICENSE ${CMAKE_SOURCE_DIR}/LICENSE)
set(CPACK_PACKAGE_DIRECTORY ${CMAKE_BINARY_DIR}/packages)
set(CPACK_STRIP_FILES TRUE)
# Absolute paths (/etc) are staged as they are.
set(CPACK_SET_DESTDIR TRUE)
set(CPACK_INSTALL_PREFIX /usr)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ
    GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_PRE_BUILD_SCRIPTS ${CMAKE_SOURCE_DIR}/cmake/PackageFiles.cmake)
set(CPACK_PROXYVPN_SOURCE_DIR ${CMAKE_SOURCE_DIR})
set(CPACK_PROXYVPN_LWIP_DIR ${lwip_dir})
set(CPACK_PROXYVPN_GZIP ${GZIP_PROGRAM})

set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE ${PROXYVPN_PACKAGE_RELEASE})
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
# Libraries by dpkg-shlibdeps; beside them setcap(8), and what makes accounts where systemd does not.
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS TRUE)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "libcap2-bin, passwd")
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "nftables, iptables")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION TRUE)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA
    ${CMAKE_SOURCE_DIR}/pkg/deb/postinst ${CMAKE_SOURCE_DIR}/pkg/deb/prerm ${CMAKE_SOURCE_DIR}/pkg/deb/postrm
    ${CMAKE_BINARY_DIR}/pkg/deb/conffiles)
# Its list of settings is known when they are staged (PackageFiles.cmake).
set(CPACK_PROXYVPN_CONFFILES ${CMAKE_BINARY_DIR}/pkg/deb/conffiles)

set(CPACK_RPM_FILE_NAME RPM-DEFAULT)
set(CPACK_RPM_PACKAGE_RELEASE ${PROXYVPN_PACKAGE_RELEASE})
set(CPACK_RPM_PACKAGE_LICENSE "MIT AND BSD-3-Clause")
set(CPACK_RPM_PACKAGE_GROUP "Applications/Internet")
set(CPACK_RPM_PACKAGE_AUTOREQ TRUE)
set(CPACK_RPM_PACKAGE_REQUIRES_PRE "shadow-utils")
set(CPACK_RPM_PACKAGE_REQUIRES_POST "libcap")
set(CPACK_RPM_PACKAGE_SUMMARY "Every TCP connection of a machine through an HTTP proxy")
set(CPACK_RPM_PACKAGE_DESCRIPTION "${CPACK_PACKAGE_DESCRIPTION}")
set(CPACK_RPM_PACKAGE_RELOCATABLE FALSE)
set(CPACK_RPM_PRE_INSTALL_SCRIPT_FILE ${CMAKE_SOURCE_DIR}/pkg/rpm/pre)
set(CPACK_RPM_POST_INSTALL_SCRIPT_FILE ${CMAKE_SOURCE_DIR}/pkg/rpm/post)
set(CPACK_RPM_PRE_UNINSTALL_SCRIPT_FILE ${CMAKE_SOURCE_DIR}/pkg/rpm/preun)
set(CPACK_RPM_POST_UNINSTALL_SCRIPT_FILE ${CMAKE_SOURCE_DIR}/pkg/rpm/postun)
set(CPACK_RPM_CHANGELOG_FILE ${CMAKE_BINARY_DIR}/pkg/rpm/changelog)
# rpm carries owner, mode and capability itself: an upgrade leaves the program at no moment without them.
set(CPACK_RPM_USER_FILELIST
    "%attr(0750,root,proxyvpn) %caps(cap_net_admin=eip) /usr/bin/proxyvpn"
    "%dir %attr(0750,root,proxyvpn) /etc/proxyvpn"
    "%config(noreplace) %attr(0640,root,proxyvpn) /etc/proxyvpn/proxyvpn.env")
# Directories that other packages own.
set(CPACK_RPM_EXCLUDE_FROM_AUTO_FILELIST_ADDITION
    /usr/lib/systemd /usr/lib/systemd/system /usr/lib/tmpfiles.d /usr/lib/sysusers.d /usr/share/licenses
    /usr/share/man /usr/share/man/man5 /usr/share/man/man8 /usr/share/bash-completion
    /usr/share/bash-completion/completions /usr/share/zsh /usr/share/zsh/site-functions /usr/share/fish
    /usr/share/fish/vendor_completions.d)
# The strings of a stripped program are what they are: nothing is done to the files behind our back.
set(CPACK_RPM_SPEC_MORE_DEFINE "%define __os_install_post %{nil}\n%define _build_id_links none")

string(TIMESTAMP proxyvpn_day "%a %b %d %Y" UTC)
file(WRITE ${CMAKE_BINARY_DIR}/pkg/rpm/changelog
     "* ${proxyvpn_day} ${PROXYVPN_PACKAGE_CONTACT} - ${PROJECT_VERSION}-${PROXYVPN_PACKAGE_RELEASE}\n"
     "- Package of version ${PROJECT_VERSION}; /usr/share/doc/proxyvpn/CHANGELOG.md says what is new.\n")
include(CPack)
