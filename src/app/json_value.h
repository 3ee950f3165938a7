#pragma once
// nlohmann's JSON without its exceptions: every value is looked at before it is taken.
#include <concepts>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>

namespace proxyvpn::app {

using Json = nlohmann::ordered_json;  // a person may read it: members stay in order

// Null when `object` is none or has no such member.
inline const Json* member(const Json& object, const char* key) {
  if (!object.is_object()) return nullptr;
  const auto at = object.find(key);
  return at == object.end() ? nullptr : &*at;
}

// The object of that name; an empty one when there is none.
inline const Json& object_in(const Json& object, const char* key) {
  static const Json nothing = Json::object();
  const auto* found = member(object, key);
  return found != nullptr && found->is_object() ? *found : nothing;
}

// Each leaves `target` alone when there is no such member, or it is null; false when it is of
// another type or does not fit.
template <std::integral T>
bool take(const Json& object, const char* key, T& target) {
  const auto* found = member(object, key);
  if (found == nullptr || found->is_null()) return true;
  if (!found->is_number_integer()) return false;
  if (found->is_number_unsigned()) {
    const auto value = found->get<std::uint64_t>();
    if (value > static_cast<std::uint64_t>(std::numeric_limits<T>::max())) return false;
    target = static_cast<T>(value);
    return true;
  }
  const auto value = found->get<std::int64_t>();  // negative: a positive one is unsigned
  if (std::is_unsigned_v<T> || value < static_cast<std::int64_t>(std::numeric_limits<T>::min())) {
    return false;
  }
  target = static_cast<T>(value);
  return true;
}

inline bool take(const Json& object, const char* key, bool& target) {
  const auto* found = member(object, key);
  if (found == nullptr || found->is_null()) return true;
  if (!found->is_boolean()) return false;
  target = found->get<bool>();
  return true;
}

inline bool take(const Json& object, const char* key, std::string& target) {
  const auto* found = member(object, key);
  if (found == nullptr || found->is_null()) return true;
  if (!found->is_string()) return false;
  target = found->get_ref<const std::string&>();
  return true;
}

// What is no UTF-8 becomes U+FFFD; never throws for it.
inline std::string text_of(const Json& value, bool indented) {
  return value.dump(indented ? 2 : -1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace proxyvpn::app
