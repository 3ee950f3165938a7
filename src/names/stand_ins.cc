#include "names/stand_ins.h"

namespace proxyvpn::names {

StandIns::StandIns(IpAddress first, std::size_t most)
    : first_(first.v4_host_order()), most_(most) {}

IpAddress StandIns::address_of(const std::string& name) {
  if (const auto known = by_name_.find(name); known != by_name_.end()) {
    entries_.splice(entries_.begin(), entries_, known->second);
    return IpAddress::v4(first_ + known->second->offset);
  }
  auto offset = static_cast<std::uint32_t>(entries_.size());
  if (entries_.size() >= most_) {
    const Entry& oldest = entries_.back();
    offset = oldest.offset;
    by_name_.erase(oldest.name);
    entries_.pop_back();
  }
  entries_.push_front({name, offset});
  by_name_[name] = by_offset_[offset] = entries_.begin();
  return IpAddress::v4(first_ + offset);
}

std::optional<std::string> StandIns::name_of(const IpAddress& address) {
  if (!covers(address)) return std::nullopt;
  const auto known = by_offset_.find(address.v4_host_order() - first_);
  if (known == by_offset_.end()) return std::nullopt;
  entries_.splice(entries_.begin(), entries_, known->second);
  return known->second->name;
}

bool StandIns::covers(const IpAddress& address) const noexcept {
  if (!address.is_v4()) return false;
  const std::uint32_t number = address.v4_host_order();
  return number >= first_ && number - first_ < most_;
}

}  // namespace proxyvpn::names
