#include "app/test_hooks.h"

#ifdef PROXYVPN_TEST_HOOKS
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#endif

namespace proxyvpn::app {

#ifdef PROXYVPN_TEST_HOOKS
namespace {
bool asked_for(const char* variable, int step) {
  const char* const value = ::getenv(variable);
  return value != nullptr && std::to_string(step) == value;
}
}  // namespace

Result<> after_step(int step, std::string_view name) {
  if (asked_for("PROXYVPN_TEST_CRASH_AFTER_STEP", step)) ::kill(::getpid(), SIGKILL);
  if (asked_for("PROXYVPN_TEST_STOP_AFTER_STEP", step)) ::kill(::getpid(), SIGSTOP);
  if (asked_for("PROXYVPN_TEST_FAIL_AFTER_STEP", step)) {
    return fail(Code::System, "failed on purpose behind step " + std::to_string(step) + " (" +
                                  std::string(name) + ")");
  }
  return {};
}
#else
Result<> after_step(int, std::string_view) { return {}; }
#endif

}  // namespace proxyvpn::app
