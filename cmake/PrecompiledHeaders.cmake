# What most files begin with, parsed once for a target instead of once for a file: a large part of a
# build from nothing. Not with ccache, which answers faster still and cannot share a precompiled
# header between trees. Builds without it (ccache, clang-tidy) show that every file includes what it
# needs.
option(PROXYVPN_PCH "Precompile headers where there is no ccache" ON)

# The two that most targets share, each compiled once: of a room, and of its tests.
function(proxyvpn_shared_headers name)
  file(WRITE ${CMAKE_BINARY_DIR}/${name}.cc "")
  add_library(${name} OBJECT ${CMAKE_BINARY_DIR}/${name}.cc)
  target_link_libraries(${name} PRIVATE ${ARGN})
endfunction()

# proxyvpn_precompile(target ROOM|TEST [<header> ...]): with headers of its own it shares nothing.
function(proxyvpn_precompile target kind)
  if(NOT PROXYVPN_PCH OR CCACHE_PROGRAM OR CMAKE_CXX_CLANG_TIDY)
    return()
  endif()
  set(headers <algorithm> <functional> <memory> <optional> <string> <vector> <tl/expected.hpp>)
  if(ARGN)
    target_precompile_headers(${target} PRIVATE ${headers} ${ARGN})
    return()
  endif()
  if(kind STREQUAL "TEST")
    list(APPEND headers <gmock/gmock.h> <gtest/gtest.h>)
    set(shared proxyvpn_test_headers)
    set(flags proxyvpn_flags proxyvpn_test_flags GTest::gtest GTest::gmock)
  else()
    set(shared proxyvpn_room_headers)
    set(flags proxyvpn_flags)
  endif()
  if(NOT TARGET ${shared})
    proxyvpn_shared_headers(${shared} ${flags})
    target_precompile_headers(${shared} PRIVATE ${headers})
  endif()
  target_precompile_headers(${target} REUSE_FROM ${shared})
endfunction()
