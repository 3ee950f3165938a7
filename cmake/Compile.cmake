# Flags for our own targets only: proxyvpn::flags. What lwIP gets is in Lwip.cmake.
add_library(proxyvpn_common INTERFACE)   # sanitizers and hardening: every target, lwIP too
add_library(proxyvpn_flags INTERFACE)
add_library(proxyvpn_test_flags INTERFACE)   # linked behind proxyvpn_flags: they take some of them back
target_link_libraries(proxyvpn_flags INTERFACE proxyvpn_common)
# -iquote, not -I: a "netlink/socket.h" of ours must never shadow libnl's <netlink/socket.h>.
target_compile_options(proxyvpn_flags INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-iquote${CMAKE_SOURCE_DIR}/src>
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wswitch-enum
  $<$<COMPILE_LANGUAGE:CXX>:-Wold-style-cast>
  $<$<BOOL:${PROXYVPN_WERROR}>:-Werror>)
target_compile_definitions(proxyvpn_common INTERFACE _GNU_SOURCE)

if(PROXYVPN_SANITIZE)
  target_compile_options(proxyvpn_common INTERFACE
    -fsanitize=${PROXYVPN_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(proxyvpn_common INTERFACE -fsanitize=${PROXYVPN_SANITIZE})
  # In the tests' own lines, not in what they test: it doubles the time that compiling them takes.
  target_compile_options(proxyvpn_test_flags INTERFACE -fno-sanitize=undefined)
endif()
if(PROXYVPN_FUZZ)
  target_compile_options(proxyvpn_common INTERFACE -fsanitize=fuzzer-no-link)
endif()
if(PROXYVPN_HARDENED)
  target_compile_options(proxyvpn_common INTERFACE
    -fstack-protector-strong -fstack-clash-protection -fcf-protection
    -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
  target_link_options(proxyvpn_common INTERFACE -Wl,-z,relro,-z,now,-z,noexecstack)
  set(CMAKE_POSITION_INDEPENDENT_CODE ON)
  include(CheckPIESupported)
  check_pie_supported()
  set(CMAKE_INTERPROCEDURAL_OPTIMIZATION ON)
  # While it links, g++ 12 warns of an overflow in `"text" + std::string` that cannot be: the bound that
  # it names is negative. Compiling still warns of what is in one file.
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    target_link_options(proxyvpn_common INTERFACE -Wno-stringop-overflow -Wno-restrict)
  endif()
endif()

# The compiler takes most of its time for headers, templates and instrumentation that the files of a room
# share. Where nobody edits between two builds (presets release and fuzz, and CI) this halves a build from
# nothing; elsewhere one changed file would cost as much as twelve, and compile_commands.json would
# name none of ours. So names in anonymous namespaces are unique within a room, its tests apart; dev and
# tidy compile file by file and show that each includes what it needs.
option(PROXYVPN_UNITY "Compile several files of a room as one" OFF)
if(PROXYVPN_UNITY)
  set(CMAKE_UNITY_BUILD ON)
  set(CMAKE_UNITY_BUILD_BATCH_SIZE 12)  # with sanitizers below 1 GiB for a compiler, see scripts/lib.sh
endif()

include(cmake/PrecompiledHeaders.cmake)

# proxyvpn_room(name SOURCES a.cc ... [LIBS rooms and libraries ...] [PRIVATE_LIBS ...]
#               [PRECOMPILE <a costly header> ...])
function(proxyvpn_room name)
  cmake_parse_arguments(ROOM "" "" "SOURCES;LIBS;PRIVATE_LIBS;PRECOMPILE" ${ARGN})
  add_library(proxyvpn_${name} STATIC ${ROOM_SOURCES})
  target_link_libraries(proxyvpn_${name} PUBLIC ${ROOM_LIBS} PRIVATE proxyvpn_flags ${ROOM_PRIVATE_LIBS})
  proxyvpn_precompile(proxyvpn_${name} ROOM ${ROOM_PRECOMPILE})
endfunction()

# proxyvpn_test(name [EVERY_BUILD] SOURCES a_test.cc ... [LIBS ...] [LABELS unit|netns])
# One binary per room; each case is its own ctest test and so its own process. EVERY_BUILD: what it
# shows depends on how it was compiled, so it runs without PROXYVPN_UNIT_TESTS, too.
function(proxyvpn_test name)
  cmake_parse_arguments(TEST "EVERY_BUILD" "LABELS" "SOURCES;LIBS" ${ARGN})
  if(NOT PROXYVPN_TESTS OR (NOT PROXYVPN_UNIT_TESTS AND NOT TEST_EVERY_BUILD))
    return()
  endif()
  if(NOT TEST_LABELS)
    set(TEST_LABELS unit)
  endif()
  add_executable(${name} ${TEST_SOURCES})
  target_link_libraries(${name} PRIVATE
    ${TEST_LIBS} proxyvpn_flags proxyvpn_test_flags GTest::gtest GTest::gmock GTest::gtest_main)
  set(prefix "")
  if(TEST_EVERY_BUILD)
    set(prefix "${PROXYVPN_TEST_PREFIX}")
  else()
    proxyvpn_precompile(${name} TEST)  # not worth it for the few that are in every build
  endif()
  gtest_discover_tests(${name} TEST_PREFIX "${prefix}" PROPERTIES LABELS ${TEST_LABELS} TIMEOUT 60 DISCOVERY_TIMEOUT 60)
endfunction()
