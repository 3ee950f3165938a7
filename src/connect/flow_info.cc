#include "connect/flow_info.h"

#include <charconv>

namespace proxyvpn::connect {
namespace {

constexpr std::uint64_t kSerialMask = (std::uint64_t{1} << kSerialBits) - 1;

// Decimal digits alone, without a zero in front.
std::optional<std::uint64_t> parse_part(std::string_view text, std::uint64_t most) noexcept {
  std::uint64_t value = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = read.ec == std::errc{} && read.ptr == text.data() + text.size();
  if (!whole || value > most || (text.size() > 1 && text.front() == '0')) return std::nullopt;
  return value;
}

}  // namespace

std::string_view to_string(FlowState state) noexcept {
  switch (state) {
    case FlowState::Waiting:
      return "waiting";
    case FlowState::Connecting:
      return "connecting";
    case FlowState::Asking:
      return "asking";
    case FlowState::Accepting:
      return "accepting";
    case FlowState::Open:
      return "open";
    case FlowState::HalfClosed:
      return "half closed";
  }
  return "?";
}

std::string flow_id_text(std::uint64_t id) {
  return std::to_string(life_of(id)) + "." + std::to_string(id & kSerialMask);
}

std::optional<std::uint64_t> parse_flow_id(std::string_view text) noexcept {
  const std::size_t dot = text.find('.');
  if (dot == std::string_view::npos) return std::nullopt;
  const auto life = parse_part(text.substr(0, dot), ~std::uint64_t{0} >> kSerialBits);
  const auto serial = parse_part(text.substr(dot + 1), kSerialMask);
  if (!life || !serial) return std::nullopt;
  return (*life << kSerialBits) | *serial;
}

}  // namespace proxyvpn::connect
