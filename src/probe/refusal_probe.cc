#include "probe/refusal_probe.h"

#include <poll.h>
#include <strings.h>
#include <sys/socket.h>

#include <array>
#include <ctime>
#include <string_view>

namespace proxyvpn::probe {
namespace {

constexpr std::size_t kMaxHead = std::size_t{16} * 1024;
constexpr std::string_view kDate = "\r\nDate:";

// Where the field's value begins; npos without one. Field names have no case (RFC 9110 5.1).
std::size_t find_date(const std::string& head) {
  for (auto at = head.find("\r\n"); at != std::string::npos; at = head.find("\r\n", at + 1)) {
    if (::strncasecmp(head.c_str() + at, kDate.data(), kDate.size()) == 0) {
      return at + kDate.size();
    }
  }
  return std::string::npos;
}

}  // namespace

RefusalReport probe_refusal(const Endpoint& to, const Deadline& deadline) {
  const auto fd = connect_udp(to_sockaddr(to), to_string(to));
  if (!fd) return {Refusal::AtOnce, fd.error().sys_errno};
  static constexpr std::array<char, 8> words{'p', 'r', 'o', 'x', 'y', 'v', 'p', 'n'};
  if (::send(fd->get(), words.data(), words.size(), MSG_NOSIGNAL) < 0) {
    return {Refusal::AtOnce, errno};
  }
  if (!wait_for(fd->get(), POLLIN, deadline, "waiting for the refusal")) return {};
  std::array<char, 64> buffer{};
  if (::recv(fd->get(), buffer.data(), buffer.size(), MSG_DONTWAIT) >= 0) {
    return {Refusal::Answered, 0};
  }
  return {Refusal::AtOnce, errno};
}

Result<std::int64_t> parse_date(const std::string& head) {
  const auto at = find_date(head);
  if (at == std::string::npos) return fail(Code::NotFound, "the answer has no Date");
  const auto begin = head.find_first_not_of(" \t", at);
  std::tm parts{};
  // IMF-fixdate, the one form that is sent today (RFC 9110 section 5.6.7).
  if (begin == std::string::npos ||
      ::strptime(head.c_str() + begin, "%a, %d %b %Y %H:%M:%S GMT", &parts) == nullptr) {
    return fail(Code::Protocol, "the answer's Date is none");
  }
  return static_cast<std::int64_t>(::timegm(&parts));
}

Result<std::int64_t> ask_date(int fd, const std::string& host, const Deadline& deadline) {
  const std::string doing = "asking " + host + " for the time";
  const std::string request =
      "HEAD / HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\nAccept: */*\r\n\r\n";
  const std::span<const std::uint8_t> bytes(reinterpret_cast<const std::uint8_t*>(request.data()),
                                            request.size());
  if (auto sent = send_all(fd, bytes, deadline, doing); !sent) return tl::unexpected(sent.error());
  std::string head;
  std::array<std::uint8_t, 4096> buffer{};
  while (head.find("\r\n\r\n") == std::string::npos && head.size() < kMaxHead) {
    const auto got = receive(fd, buffer, deadline, doing);
    if (!got) return tl::unexpected(got.error());
    if (*got == 0) break;
    head.append(reinterpret_cast<const char*>(buffer.data()), *got);
  }
  return parse_date(head);
}

}  // namespace proxyvpn::probe
