#include "app/check.h"

#include <algorithm>

namespace proxyvpn::app {

std::string_view to_string(CheckState state) noexcept {
  switch (state) {
    case CheckState::Ok:
      return "ok";
    case CheckState::Warn:
      return "warn";
    case CheckState::Fail:
      return "fail";
    case CheckState::Skip:
      return "skip";
  }
  return "?";
}

std::string sentence(const Check& check) {
  return check.advice.empty() ? check.finding : check.finding + "; " + check.advice;
}

std::size_t Checks::count(CheckState state) const noexcept {
  return static_cast<std::size_t>(
      std::count_if(all_.begin(), all_.end(), [&](const Check& c) { return c.state == state; }));
}

}  // namespace proxyvpn::app
