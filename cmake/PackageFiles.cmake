# Runs in cpack, between the staged files and the package: what Debian wants in other places and forms.
if(NOT CPACK_GENERATOR STREQUAL "DEB")
  return()
endif()
set(root ${CPACK_TEMPORARY_INSTALL_DIRECTORY})
set(doc ${root}/usr/share/doc/proxyvpn)

# text(RESULT FILE): as the body of a field of a copyright file.
function(license_text result file)
  file(READ ${file} text)
  string(REPLACE ";" "," text "${text}")   # a list, below
  string(REGEX REPLACE "(^|\n) ?/?\\*/?" "\\1" text "${text}")
  string(STRIP "${text}" text)
  string(REGEX REPLACE "[ \t]+\n" "\n" text "${text}")
  string(REGEX REPLACE "\n\n+" "\n.\n" text "${text}")
  string(REGEX REPLACE "\n *" "\n " text "${text}")
  set(${result} " ${text}\n" PARENT_SCOPE)
endfunction()

# The licences: ours, and that of lwIP, which is compiled in and wants its text with the program.
license_text(ours ${CPACK_PROXYVPN_SOURCE_DIR}/LICENSE)
string(CONCAT copyright
  "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n"
  "Upstream-Name: proxyvpn\n\nFiles: *\nCopyright: 2026 The proxyvpn authors\nLicense: Expat\n${ours}\n")
if(EXISTS ${CPACK_PROXYVPN_LWIP_DIR}/COPYING)
  license_text(theirs ${CPACK_PROXYVPN_LWIP_DIR}/COPYING)
  string(APPEND copyright "Files: lwip/*\nCopyright: 2001-2018 Swedish Institute of Computer Science and others\n"
         "License: BSD-3-clause\n${theirs}\n")
endif()
file(WRITE ${doc}/copyright "${copyright}")
file(REMOVE_RECURSE ${root}/usr/share/licenses)

# Changelogs: upstream's is ours, the package's says which version it packs.
string(TIMESTAMP now "%a, %d %b %Y %H:%M:%S +0000" UTC)
file(WRITE ${doc}/changelog.Debian
     "proxyvpn (${CPACK_PACKAGE_VERSION}-${CPACK_DEBIAN_PACKAGE_RELEASE}) unstable; urgency=medium\n\n"
     "  * Package of version ${CPACK_PACKAGE_VERSION}: changelog.gz says what is new.\n\n"
     " -- ${CPACK_PACKAGE_CONTACT}  ${now}\n")
file(RENAME ${doc}/CHANGELOG.md ${doc}/changelog)
execute_process(COMMAND ${CPACK_PROXYVPN_GZIP} -9nf ${doc}/changelog ${doc}/changelog.Debian COMMAND_ERROR_IS_FATAL ANY)

if(EXISTS ${root}/usr/share/zsh/site-functions)
  file(RENAME ${root}/usr/share/zsh/site-functions ${root}/usr/share/zsh/vendor-completions)
endif()
file(COPY ${CPACK_PROXYVPN_SOURCE_DIR}/pkg/deb/lintian-overrides DESTINATION ${root}/usr/share/lintian/overrides)
file(RENAME ${root}/usr/share/lintian/overrides/lintian-overrides ${root}/usr/share/lintian/overrides/proxyvpn)

# Every file under /etc belongs to the administrator.
file(GLOB_RECURSE settings RELATIVE ${root} ${root}/etc/*)
list(SORT settings)
set(conffiles "")
foreach(file IN LISTS settings)
  string(APPEND conffiles "/${file}\n")
endforeach()
file(WRITE ${CPACK_PROXYVPN_CONFFILES} "${conffiles}")
