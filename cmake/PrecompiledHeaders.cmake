# What most files begin with, parsed once for a target instead of once for a file: a large part of a
# build from nothing. Not with ccache, which answers faster still and cannot share a precompiled
# header between trees. Builds without it (ccache, clang-tidy) show that every file includes what it
# needs.
option(PROXYVPN_PCH "Precompile headers where there is no ccache" ON)

# proxyvpn_precompile(target [<header> ...])
function(proxyvpn_precompile target)
  if(PROXYVPN_PCH AND NOT CCACHE_PROGRAM AND NOT CMAKE_CXX_CLANG_TIDY)
    target_precompile_headers(${target} PRIVATE
      <algorithm> <functional> <memory> <optional> <string> <vector> <tl/expected.hpp> ${ARGN})
  endif()
endfunction()
