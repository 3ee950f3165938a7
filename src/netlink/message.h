#pragma once
// One netlink message: built with libnl, read with checked lengths. Inside this room only.
#include <netlink/attr.h>
#include <netlink/msg.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "base/ip.h"

namespace proxyvpn::netlink {

struct FreeMessage {
  void operator()(nl_msg* message) const noexcept { nlmsg_free(message); }
};

// Grows attribute by attribute. Nothing here can fail but for want of memory or space (one page);
// that is kept and answered by ok().
class Message {
 public:
  Message(int type, int flags) : message_(nlmsg_alloc_simple(type, flags)) {
    if (!message_) ok_ = false;
  }
  // What a function of libnl-route built; null: it had no memory. Takes ownership.
  explicit Message(nl_msg* built) : message_(built), ok_(built != nullptr) {}
  // A copy of a message that the kernel sent, to be sent back with another type.
  Message(const nlmsghdr* from, int type, int flags)
      : message_(nlmsg_convert(const_cast<nlmsghdr*>(from))) {
    if (!message_) {
      ok_ = false;
      return;
    }
    nlmsghdr* header = nlmsg_hdr(message_.get());
    header->nlmsg_type = static_cast<std::uint16_t>(type);
    header->nlmsg_flags = static_cast<std::uint16_t>(flags);
    header->nlmsg_pid = 0;
  }

  // The protocol's fixed header (rtmsg, ifinfomsg, ...), first of all.
  template <class Header>
  Message& header(const Header& value) {
    Header copy = value;
    return keep(message_ ? nlmsg_append(message_.get(), &copy, sizeof copy, NLMSG_ALIGNTO) : -1);
  }
  Message& put_u8(int attribute, std::uint8_t value) {
    return keep(message_ ? nla_put_u8(message_.get(), attribute, value) : -1);
  }
  Message& put_u32(int attribute, std::uint32_t value) {
    return keep(message_ ? nla_put_u32(message_.get(), attribute, value) : -1);
  }
  Message& put_string(int attribute, const std::string& value) {
    return keep(message_ ? nla_put_string(message_.get(), attribute, value.c_str()) : -1);
  }
  [[nodiscard]] bool ok() const noexcept { return ok_; }
  [[nodiscard]] nl_msg* get() const noexcept { return message_.get(); }
  [[nodiscard]] const nlmsghdr* raw() const noexcept { return nlmsg_hdr(message_.get()); }

 private:
  Message& keep(int result) {
    if (result < 0) ok_ = false;
    return *this;
  }

  std::unique_ptr<nl_msg, FreeMessage> message_;
  bool ok_ = true;
};

// The fixed header of a message, null when the message is too short for it.
template <class Header>
const Header* header_of(const nlmsghdr* message) {
  if (!nlmsg_valid_hdr(message, static_cast<int>(sizeof(Header)))) return nullptr;
  return static_cast<const Header*>(nlmsg_data(message));
}

// Attributes behind the fixed header, by number up to Max. Values shorter than their type count as
// absent. Valid while the message lives.
template <int Max>
class Attributes {
 public:
  Attributes(const nlmsghdr* message, std::size_t header_size) {
    if (nlmsg_parse(const_cast<nlmsghdr*>(message), static_cast<int>(header_size), table_.data(),
                    Max, nullptr) < 0)
      table_.fill(nullptr);
  }
  // Attributes side by side, `length` bytes in all (those of a next hop).
  Attributes(const nlattr* first, std::size_t length) {
    if (nla_parse(table_.data(), Max, const_cast<nlattr*>(first), static_cast<int>(length),
                  nullptr) < 0)
      table_.fill(nullptr);
  }
  explicit Attributes(const nlattr* nested) {
    if (nla_parse_nested(table_.data(), Max, const_cast<nlattr*>(nested), nullptr) < 0)
      table_.fill(nullptr);
  }

  [[nodiscard]] const nlattr* get(int number) const {
    return table_[static_cast<std::size_t>(number)];
  }
  template <class T>
  [[nodiscard]] std::optional<T> value(int number) const {
    const nlattr* attribute = get(number);
    if (attribute == nullptr || nla_len(attribute) < static_cast<int>(sizeof(T))) return {};
    T result{};
    std::memcpy(&result, nla_data(attribute), sizeof result);
    return result;
  }
  [[nodiscard]] std::optional<std::uint8_t> u8(int number) const {
    return value<std::uint8_t>(number);
  }
  [[nodiscard]] std::optional<std::uint32_t> u32(int number) const {
    return value<std::uint32_t>(number);
  }
  [[nodiscard]] std::string text(int number) const {
    const nlattr* attribute = get(number);
    if (attribute == nullptr) return {};
    const char* data = static_cast<const char*>(nla_data(attribute));
    return {data, ::strnlen(data, static_cast<std::size_t>(nla_len(attribute)))};
  }
  // Empty unless it holds exactly an address of this family (AF_INET or AF_INET6).
  [[nodiscard]] std::optional<IpAddress> address(int number, int family) const {
    if (family == AF_INET) {
      const auto bytes = value<std::array<std::uint8_t, 4>>(number);
      return bytes ? std::optional(IpAddress::v4(*bytes)) : std::nullopt;
    }
    const auto bytes = value<std::array<std::uint8_t, 16>>(number);
    return bytes ? std::optional(IpAddress::v6(*bytes)) : std::nullopt;
  }

 private:
  std::array<nlattr*, static_cast<std::size_t>(Max) + 1> table_{};
};

}  // namespace proxyvpn::netlink
