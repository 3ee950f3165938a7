# Checks of the tree itself, as tests: they run with everything else and appear in the same summary.
find_program(BASH_PROGRAM bash REQUIRED)
find_package(Python3 COMPONENTS Interpreter QUIET)

# proxyvpn_check(name LABEL command ...): exit status 77 means that a tool is missing.
function(proxyvpn_check name label)
  add_test(NAME ${name} COMMAND ${ARGN} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  set_tests_properties(${name} PROPERTIES LABELS ${label} TIMEOUT 300 SKIP_RETURN_CODE 77)
endfunction()

proxyvpn_check(check.layers check ${CMAKE_SOURCE_DIR}/scripts/check-layers.sh)
proxyvpn_check(check.layers_finds_violations check ${CMAKE_SOURCE_DIR}/scripts/check-layers.sh --self-test)
proxyvpn_check(check.shellcheck check ${CMAKE_SOURCE_DIR}/scripts/check.sh --one shellcheck)
proxyvpn_check(check.lwip_source check ${CMAKE_SOURCE_DIR}/tests/lwip_source_test.sh ${lwip_dir})
if(Python3_FOUND)
  proxyvpn_check(check.packages check ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/tests/packages_agree.py)
  proxyvpn_check(check.pictures check ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/tests/pictures_test.py)
  proxyvpn_check(check.dashboard check ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/tests/dashboard_agree.py)
  proxyvpn_check(check.dashboard_finds_disagreements check ${Python3_EXECUTABLE}
                 ${CMAKE_SOURCE_DIR}/tests/dashboard_agree.py --self-test)
  proxyvpn_check(check.completions_finds_disagreements check ${Python3_EXECUTABLE}
                 ${CMAKE_SOURCE_DIR}/tests/completions_test.py --self-test)
  if(TARGET proxyvpn AND TARGET proxyvpn-selftest)
    proxyvpn_check(check.documentation check ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/tests/docs_agree.py
                   --proxyvpn $<TARGET_FILE:proxyvpn> --selftest $<TARGET_FILE:proxyvpn-selftest>)
  endif()
  if(TARGET proxyvpn)
    proxyvpn_check(check.completions check ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/tests/completions_test.py
                   $<TARGET_FILE:proxyvpn>)
  endif()
  proxyvpn_check(check.documentation_finds_disagreements check ${Python3_EXECUTABLE}
                 ${CMAKE_SOURCE_DIR}/tests/docs_agree.py --self-test)
endif()
# Built beforehand by scripts/test.sh; a run of its own builds what is missing.
proxyvpn_check(fuzz fuzz ${CMAKE_SOURCE_DIR}/scripts/fuzz.sh)
set_tests_properties(fuzz PROPERTIES TIMEOUT 1200 COST 2000)  # the longest of all: first
# A sandbox of namespaces, like the tests of tests/netns, and like them left out without root.
if(TARGET proxyvpn AND TARGET proxyvpn-selftest)
  proxyvpn_check(install netns ${CMAKE_SOURCE_DIR}/tests/install_test.sh ${CMAKE_BINARY_DIR}/bin)
endif()
