#pragma once
// Status as JSON, for the control socket and for --json. The form is docs/status.schema.json; a
// field is never renamed or given another meaning without a new kSchema.
#include <string>
#include <string_view>

#include "app/status.h"
#include "base/error.h"

namespace proxyvpn::app {

inline constexpr int kSchema = 1;

// One line without a newline; or, for people, with an indent.
std::string to_json(const Status& status, bool indented = false);
// Unknown fields are passed over, missing ones have their defaults. Code::Protocol for what is no
// status of this schema.
Result<Status> parse_status(std::string_view text);

}  // namespace proxyvpn::app
