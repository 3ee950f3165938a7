#pragma once
// What `doctor` prints: lines for people, JSON for programs (docs/doctor.schema.json).
#include <cstddef>
#include <string>
#include <vector>

#include "app/check.h"

namespace proxyvpn::app {

struct CheckGroup {
  std::string name;  // "host", "proxy", "resolvers", "running"
  Checks checks;
};

struct ReportStyle {
  bool colour = false;
  std::size_t width = 0;  // columns; 0: lines are not broken
};

// One line per check, its advice below it, and a last line with the numbers. Ends with a newline.
std::string doctor_text(const std::vector<CheckGroup>& groups, const ReportStyle& style);

inline constexpr int kDoctorSchema = 1;
// A field is never renamed or given another meaning without a new kDoctorSchema.
std::string doctor_json(const std::vector<CheckGroup>& groups);

std::size_t count(const std::vector<CheckGroup>& groups, CheckState state);
// The number of failures, for exit(3); more than 100 are 100.
int doctor_exit_code(const std::vector<CheckGroup>& groups);

}  // namespace proxyvpn::app
