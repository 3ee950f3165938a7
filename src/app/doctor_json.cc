// docs/doctor.schema.json
#include <nlohmann/json.hpp>

#include "app/doctor_report.h"

namespace proxyvpn::app {

std::string doctor_json(const std::vector<CheckGroup>& groups) {
  using Json = nlohmann::ordered_json;
  Json checks = Json::array();
  for (const auto& group : groups) {
    for (const auto& check : group.checks.all()) {
      Json one;
      one["group"] = group.name;
      one["name"] = check.name;
      one["state"] = to_string(check.state);
      one["finding"] = check.finding;
      if (check.advice.empty()) {
        one["advice"] = nullptr;
      } else {
        one["advice"] = check.advice;
      }
      checks.push_back(std::move(one));
    }
  }
  Json all;
  all["schema"] = kDoctorSchema;
  all["failures"] = count(groups, CheckState::Fail);
  all["warnings"] = count(groups, CheckState::Warn);
  all["ok"] = count(groups, CheckState::Ok);
  all["skipped"] = count(groups, CheckState::Skip);
  all["checks"] = std::move(checks);
  // Words of the kernel or a proxy may be no UTF-8: what is not becomes U+FFFD.
  return all.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace proxyvpn::app
