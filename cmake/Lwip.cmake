# lwIP from source with our own lwipopts.h: Debian's prebuilt library has windows, checksums and
# output buffers that don't fit (docs/architecture.md). The tree is fetched and unpacked once per
# build tree; after that the build is offline.
#
# With apt: Debian's own source package from the mirror that this system already uses, through a
# private source list, checked by the SHA-256 of the archive. Without apt: the upstream release,
# checked by the SHA-256 of what is compiled (every source and header, line ends normalised), which is
# the same for both archives.
set(LWIP_VERSION 2.1.3)
set(LWIP_DEB_FILE lwip_2.1.3+dfsg1.orig.tar.xz)
set(LWIP_DEB_SHA256 0a8276d09fc4e97bbba2f953d74af2388fc2195ea156be9d7589e297a68fde24)
set(LWIP_UPSTREAM_URL https://download.savannah.nongnu.org/releases/lwip/lwip-2.1.3.zip)
set(LWIP_CONTENT_SHA256 41703ed3edb521bd69a6b07618db2165f7d5b72d50e40e8dcaa450a9c25ec0b4)

# One source list line for the archive's main component, made from the system's own configuration.
function(proxyvpn_deb_src_line result)
  execute_process(COMMAND ${APT_GET} indextargets --format "$(ORIGIN)|$(REPO_URI)|$(CODENAME)|$(COMPONENT)"
                  OUTPUT_VARIABLE targets ERROR_QUIET)
  string(REPLACE "\n" ";" targets "${targets}")
  foreach(target IN LISTS targets)
    if(target MATCHES "^(Debian|Ubuntu)\\|([^|]+)\\|([a-z]+)\\|(main|universe)$")
      if(CMAKE_MATCH_1 STREQUAL "Debian" OR CMAKE_MATCH_4 STREQUAL "universe")
        string(TOLOWER ${CMAKE_MATCH_1} origin)
        set(${result} "deb-src [signed-by=/usr/share/keyrings/${origin}-archive-keyring.gpg] ${CMAKE_MATCH_2} ${CMAKE_MATCH_3} ${CMAKE_MATCH_4}" PARENT_SCOPE)
        return()
      endif()
    endif()
  endforeach()
  set(${result} "" PARENT_SCOPE)
endfunction()

function(proxyvpn_fetch_lwip_apt directory result)
  proxyvpn_deb_src_line(line)
  if(NOT line)
    set(${result} "apt knows no Debian or Ubuntu archive yet (run apt-get update first)" PARENT_SCOPE)
    return()
  endif()
  set(work ${directory}/apt)
  file(MAKE_DIRECTORY ${work}/lists/partial ${work}/cache/archives/partial)
  file(WRITE ${work}/sources.list "${line}\n")
  set(apt ${APT_GET} -qq -o Dir::Etc::sourcelist=${work}/sources.list -o Dir::Etc::sourceparts=-
          -o Dir::State::lists=${work}/lists -o Dir::Cache=${work}/cache -o APT::Sandbox::User=root)
  execute_process(COMMAND ${apt} update WORKING_DIRECTORY ${directory} RESULT_VARIABLE rc ERROR_VARIABLE err)
  if(rc EQUAL 0)
    execute_process(COMMAND ${apt} --download-only source lwip
                    WORKING_DIRECTORY ${directory} RESULT_VARIABLE rc ERROR_VARIABLE err)
  endif()
  file(REMOVE_RECURSE ${work})
  set(${result} "${err}" PARENT_SCOPE)
endfunction()

# SHA-256 over the SHA-256 of each compiled file, in the order of their names.
function(proxyvpn_lwip_digest directory result)
  file(GLOB_RECURSE files RELATIVE ${directory} ${directory}/src/core/*.c ${directory}/src/include/lwip/*.h)
  list(SORT files)
  set(all "")
  foreach(file IN LISTS files)
    file(READ ${directory}/${file} text)
    string(REPLACE "\r" "" text "${text}")
    string(SHA256 one "${text}")
    string(APPEND all "${file} ${one}\n")
  endforeach()
  string(SHA256 digest "${all}")
  set(${result} ${digest} PARENT_SCOPE)
endfunction()

function(proxyvpn_check_archive archive want)
  file(SHA256 ${archive} have)
  if(NOT have STREQUAL want)
    file(REMOVE ${archive})
    message(FATAL_ERROR "lwIP: ${archive} has SHA-256 ${have}, expected ${want}. It was removed; "
            "configure again, or give a tree with -DLWIP_SOURCE_DIR=.")
  endif()
endfunction()

set(lwip_dir "${LWIP_SOURCE_DIR}")
if(NOT lwip_dir)
  set(download ${CMAKE_BINARY_DIR}/lwip)
  set(lwip_dir ${download}/source)
  if(NOT EXISTS ${lwip_dir}/src/core/tcp_in.c)
    file(MAKE_DIRECTORY ${download})
    find_program(APT_GET apt-get)
    if(APT_GET)
      set(archive ${download}/${LWIP_DEB_FILE})
      if(NOT EXISTS ${archive})
        message(STATUS "lwIP: getting Debian's source package of lwIP ${LWIP_VERSION}")
        proxyvpn_fetch_lwip_apt(${download} fetch_error)
      endif()
    else()
      set(archive ${download}/lwip-${LWIP_VERSION}.zip)
      if(NOT EXISTS ${archive})
        message(STATUS "lwIP: getting ${LWIP_UPSTREAM_URL}")
        file(DOWNLOAD ${LWIP_UPSTREAM_URL} ${archive}.part STATUS fetch_error)
        list(GET fetch_error 0 fetch_code)
        if(fetch_code EQUAL 0)
          file(RENAME ${archive}.part ${archive})
        endif()
      endif()
    endif()
    if(NOT EXISTS ${archive})
      message(FATAL_ERROR "lwIP's source could not be fetched: ${fetch_error}\n"
              "  Give an unpacked lwIP ${LWIP_VERSION} tree with -DLWIP_SOURCE_DIR=/path/to/lwip.")
    endif()
    if(APT_GET)
      proxyvpn_check_archive(${archive} ${LWIP_DEB_SHA256})
    endif()
    file(REMOVE_RECURSE ${download}/unpack)
    file(ARCHIVE_EXTRACT INPUT ${archive} DESTINATION ${download}/unpack)
    file(GLOB top LIST_DIRECTORIES true ${download}/unpack/*)
    proxyvpn_lwip_digest(${top} digest)
    if(NOT digest STREQUAL LWIP_CONTENT_SHA256)
      message(FATAL_ERROR "lwIP: the sources in ${archive} have digest ${digest}, expected ${LWIP_CONTENT_SHA256}")
    endif()
    file(RENAME ${top} ${lwip_dir})
    file(REMOVE_RECURSE ${download}/unpack)
  endif()
endif()
if(NOT EXISTS ${lwip_dir}/src/core/tcp_in.c)
  message(FATAL_ERROR "LWIP_SOURCE_DIR=${lwip_dir} is not an lwIP tree: src/core/tcp_in.c is missing")
endif()

set(core ${lwip_dir}/src/core)
add_library(lwip STATIC
  ${core}/init.c ${core}/def.c ${core}/mem.c ${core}/memp.c ${core}/netif.c ${core}/pbuf.c
  ${core}/tcp.c ${core}/tcp_in.c ${core}/tcp_out.c ${core}/inet_chksum.c ${core}/ip.c
  ${core}/ipv4/ip4.c ${core}/ipv4/ip4_addr.c
  ${core}/ipv6/ip6.c ${core}/ipv6/ip6_addr.c ${core}/ipv6/nd6.c ${core}/ipv6/icmp6.c)
target_include_directories(lwip SYSTEM PUBLIC ${lwip_dir}/src/include ${CMAKE_SOURCE_DIR}/src/stack/lwip_port)
target_link_libraries(lwip PUBLIC proxyvpn_common)
set_target_properties(lwip PROPERTIES UNITY_BUILD OFF)  # not ours to keep its files' names apart
# lwIP computes with pointers into packets as the wire has them.
target_compile_options(lwip PRIVATE -fno-strict-aliasing -Wno-address)
if(PROXYVPN_SANITIZE MATCHES undefined)
  target_compile_options(lwip PRIVATE -fno-sanitize=alignment)
endif()
