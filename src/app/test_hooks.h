#pragma once
// For the tests of crashes: stops or fails the start behind a given step. Compiled in only with
// PROXYVPN_TEST_HOOKS.
#include <string_view>

#include "base/error.h"

namespace proxyvpn::app {

// PROXYVPN_TEST_CRASH_AFTER_STEP=n: SIGKILL to this process behind step n.
// PROXYVPN_TEST_STOP_AFTER_STEP=n: the same with SIGSTOP.
// PROXYVPN_TEST_FAIL_AFTER_STEP=n: step n counts as failed.
// Numbers as in Lifecycle::up(), then one more for the workers; 0 is the moment before the first.
Result<> after_step(int step, std::string_view name);

}  // namespace proxyvpn::app
