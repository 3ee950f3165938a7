#include "connect/http_head.h"

#include <algorithm>

namespace proxyvpn::connect {
namespace {

using std::string_view_literals::operator""sv;

constexpr std::string_view kVersion = "HTTP/1.";
constexpr std::string_view kUnknown = "the proxy does not speak HTTP";
constexpr std::string_view kWrongVersion = "the proxy answered in a version of HTTP other than 1.x";
constexpr std::string_view kNoCode = "the proxy's status line has no three-digit status code";
constexpr char kAny = '?';  // in a signature: any byte

struct Signature {
  std::string_view opening;
  std::string_view reason;
};

constexpr std::string_view kTls =
    "the proxy speaks TLS on this port; proxyvpn speaks plain HTTP to the proxy";
constexpr std::string_view kSocks =
    "the proxy answered like a SOCKS proxy; an HTTP proxy port is needed";
constexpr std::string_view kMail =
    "the server at the proxy's address greets like FTP or SMTP, it is no HTTP proxy";
constexpr std::string_view kHttp2 =
    "the proxy answered in HTTP/2; proxyvpn speaks HTTP/1.1 to the proxy";
constexpr std::string_view kHtml =
    "the proxy answered with a bare HTML page, without an HTTP status line";

// What a server says first, or says to a CONNECT that it does not understand.
constexpr Signature kSignatures[] = {
    {"\x15\x03"sv, kTls},  // TLS alert record (RFC 8446 5.1)
    {"\x16\x03"sv, kTls},  // TLS handshake record
    {"SSH-"sv,
     "the server at the proxy's address speaks SSH, it is no HTTP proxy"},  // RFC 4253 4.2
    {"\x05"sv, kSocks},                                                     // RFC 1928 section 3
    {"\x00\x5a"sv, kSocks},  // SOCKS4 replies 90 to 93
    {"\x00\x5b"sv, kSocks},
    {"\x00\x5c"sv, kSocks},
    {"\x00\x5d"sv, kSocks},
    {"\x00\x00?\x04"sv,
     kHttp2},  // a SETTINGS frame, what an HTTP/2 server says first (RFC 9113 3.4)
    {"\x00\x00?\x07"sv, kHttp2},  // GOAWAY
    {"PRI * HTTP/2"sv, kHttp2},
    {"220"sv, kMail},
    {"421"sv, kMail},
    {"500"sv, kMail},
    {"502"sv, kMail},
    {"530"sv, kMail},
    {"554"sv, kMail},
    {"+OK"sv, "the server at the proxy's address speaks POP3, it is no HTTP proxy"},
    {"* OK"sv, "the server at the proxy's address speaks IMAP, it is no HTTP proxy"},
    {"RTSP/"sv, "the server at the proxy's address speaks RTSP, it is no HTTP proxy"},
    {"ICY "sv, "the server at the proxy's address is a Shoutcast server, it is no HTTP proxy"},
    {"<html"sv, kHtml},
    {"<HTML"sv, kHtml},
    {"<!DOCTYPE"sv, kHtml},
    {"<!doctype"sv, kHtml},
};

bool is_digit(std::uint8_t byte) noexcept { return byte >= '0' && byte <= '9'; }

// RFC 9110 5.6.2
bool is_token(std::uint8_t byte) noexcept {
  return is_digit(byte) || (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
         (byte != 0 && "!#$%&'*+-.^_`|~"sv.find(static_cast<char>(byte)) != std::string_view::npos);
}

bool agrees(std::string_view opening, std::string_view signature) noexcept {
  const std::size_t common = std::min(opening.size(), signature.size());
  for (std::size_t i = 0; i < common; ++i) {
    if (signature[i] != kAny && signature[i] != opening[i]) return false;
  }
  return true;
}

}  // namespace

void HeadScanner::reset() noexcept {
  state_ = State::Blank;
  opening_size_ = 0;
  digits_ = 0;
  code_ = 0;
  fields_ = 0;
  reason_ = {};
}

HeadScanner::Step HeadScanner::scan(std::span<const std::uint8_t> bytes) noexcept {
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const Event event = push(bytes[i]);
    if (event != Event::More) return {event, event == Event::End ? i + 1 : i};
  }
  return {Event::More, bytes.size()};
}

HeadScanner::Event HeadScanner::push(std::uint8_t byte) noexcept {
  switch (state_) {
    case State::Blank:
    case State::Version:
    case State::Minor:
    case State::Space:
    case State::Code:
    case State::CodeEnd:
      return status_line(byte);
    case State::Reason:
      return text(byte);
    case State::Cr:
    case State::Start:
    case State::Name:
    case State::Value:
    case State::EndCr:
      return field_line(byte);
    case State::Sniffing:
      return sniff(byte);
  }
  return Event::More;
}

HeadScanner::Event HeadScanner::next(State state) noexcept {
  state_ = state;
  return Event::More;
}

HeadScanner::Event HeadScanner::malformed(std::string_view reason) noexcept {
  reason_ = reason;
  return Event::Malformed;
}

HeadScanner::Event HeadScanner::status_line(std::uint8_t byte) noexcept {
  if (state_ == State::Blank) {
    if (byte == '\r' || byte == '\n') return Event::More;
    state_ = State::Version;
  }
  if (state_ == State::Version) {
    const std::size_t at = opening_size_;
    if (static_cast<char>(byte) != kVersion[at]) {
      if (at >= 5) return malformed(kWrongVersion);
      return sniff(byte);
    }
    opening_[opening_size_++] = static_cast<char>(byte);
    return opening_size_ == kVersion.size() ? next(State::Minor) : Event::More;
  }
  if (state_ == State::Minor) {
    if (is_digit(byte)) return next(State::Space);
    return malformed(kWrongVersion);
  }
  return status_code(byte);
}

HeadScanner::Event HeadScanner::status_code(std::uint8_t byte) noexcept {
  if (state_ == State::Space) {
    if (byte != ' ') return malformed(kNoCode);
    return next(State::Code);
  }
  if (state_ == State::Code) {
    // RFC 9112 section 4 lets a client split the line at any run of spaces.
    if (byte == ' ' && digits_ == 0) return Event::More;
    if (!is_digit(byte) || (digits_ == 0 && byte == '0')) return malformed(kNoCode);
    code_ = code_ * 10 + (byte - '0');
    return ++digits_ == 3 ? next(State::CodeEnd) : Event::More;
  }
  // The space behind the code is left out by some when there is no reason phrase.
  if (byte != ' ' && byte != '\r' && byte != '\n') {
    digits_ = 0;  // no status() then
    return malformed(kNoCode);
  }
  return text(byte);
}

// The rest of a status line or of a field: up to its LF.
HeadScanner::Event HeadScanner::text(std::uint8_t byte) noexcept {
  if (byte == '\n') return next(State::Start);
  if (byte == '\r') return next(State::Cr);
  if ((byte < 0x20 && byte != '\t') || byte == 0x7f) {
    return malformed("the head of the proxy's answer has a control character in it");
  }
  if (state_ == State::CodeEnd) state_ = State::Reason;
  return Event::More;
}

HeadScanner::Event HeadScanner::field_line(std::uint8_t byte) noexcept {
  switch (state_) {
    case State::Cr:
      if (byte == '\n') return next(State::Start);
      return malformed("a line of the proxy's answer has a CR that no LF follows");
    case State::EndCr:
      if (byte == '\n') return Event::End;
      return malformed("a line of the proxy's answer has a CR that no LF follows");
    case State::Start:
      return line_start(byte);
    case State::Name:
      if (byte == ':') return next(State::Value);
      if (is_token(byte)) return Event::More;
      return malformed("the proxy's answer has a header line without a proper name and colon");
    case State::Blank:
    case State::Version:
    case State::Minor:
    case State::Space:
    case State::Code:
    case State::CodeEnd:
    case State::Reason:
    case State::Value:
    case State::Sniffing:
      break;
  }
  return text(byte);
}

HeadScanner::Event HeadScanner::line_start(std::uint8_t byte) noexcept {
  if (byte == '\n') return Event::End;
  if (byte == '\r') return next(State::EndCr);
  if (byte == ' ' || byte == '\t') {
    // obs-fold (RFC 9112 5.2) continues a field; behind the status line there is none yet.
    if (fields_ != 0) return next(State::Value);
    return malformed("the proxy's answer has a folded header line with nothing in front of it");
  }
  if (!is_token(byte)) {
    return malformed("the proxy's answer has a header line without a proper name and colon");
  }
  if (++fields_ > max_fields_) return malformed("the proxy's answer has too many header lines");
  return next(State::Name);
}

HeadScanner::Event HeadScanner::sniff(std::uint8_t byte) noexcept {
  state_ = State::Sniffing;
  reason_ = kUnknown;
  opening_[opening_size_++] = static_cast<char>(byte);
  const std::string_view opening(opening_.data(), opening_size_);
  bool undecided = false;
  for (const Signature& signature : kSignatures) {
    if (!agrees(opening, signature.opening)) continue;
    if (opening.size() >= signature.opening.size()) {
      reason_ = signature.reason;
      return Event::NotHttp;
    }
    undecided = true;
  }
  return undecided && opening_size_ < kOpening ? Event::More : Event::NotHttp;
}

}  // namespace proxyvpn::connect
