#pragma once
// One thing that was looked at, and what came of it. Preflight makes them of facts before anything
// changes; `doctor` prints them.
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace proxyvpn::app {

enum class CheckState : std::uint8_t {
  Ok,
  Warn,  // it works, or will, but not as a person may expect
  Fail,  // what does not work
  Skip,  // was not looked at; `finding` says why
};
// "ok", "warn", "fail", "skip": what scripts read.
std::string_view to_string(CheckState state) noexcept;

struct Check {
  std::string name;  // lower case and dashes, for scripts: "tun-device"
  CheckState state = CheckState::Ok;
  std::string finding;  // what is so, with the value; a sentence without its full stop
  std::string advice;   // what to do; may be empty
  friend bool operator==(const Check&, const Check&) = default;
};

// "finding; advice", as one line of `up`.
std::string sentence(const Check& check);

// In the order in which they were made.
class Checks {
 public:
  void ok(std::string name, std::string finding, std::string advice = {}) {
    add({std::move(name), CheckState::Ok, std::move(finding), std::move(advice)});
  }
  void warn(std::string name, std::string finding, std::string advice = {}) {
    add({std::move(name), CheckState::Warn, std::move(finding), std::move(advice)});
  }
  void fail(std::string name, std::string finding, std::string advice = {}) {
    add({std::move(name), CheckState::Fail, std::move(finding), std::move(advice)});
  }
  void skip(std::string name, std::string finding, std::string advice = {}) {
    add({std::move(name), CheckState::Skip, std::move(finding), std::move(advice)});
  }
  void add(Check check) { all_.push_back(std::move(check)); }
  [[nodiscard]] const std::vector<Check>& all() const noexcept { return all_; }
  [[nodiscard]] std::size_t count(CheckState state) const noexcept;

 private:
  std::vector<Check> all_;
};

}  // namespace proxyvpn::app
