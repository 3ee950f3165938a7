#pragma once
// Where the head of a proxy's reply begins and ends, and whether it is HTTP/1.x at all. It walks in
// front of the library that takes the head apart (http_parser, see http_connect.cc), because that
// library, as distributions build it (HTTP_PARSER_STRICT=0), is too lenient for a tunnel: it takes
// "HTTP/3.1 0200", names with spaces, control characters, and any byte in the place of the LF after
// a CR. The last one moves the end of the head, so that tunnel bytes are lost or head bytes become
// the tunnel's.
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace proxyvpn::connect {

class HeadScanner {
 public:
  enum class Event : std::uint8_t {
    More,       // the head goes on
    End,        // the empty line is over
    NotHttp,    // the peer speaks something else; reason() names it
    Malformed,  // HTTP/1.x, but broken; reason() says where
  };
  struct Step {
    Event event = Event::More;
    // Bytes that belong to the head: all for More, up to and with the empty line for End, those in
    // front of the offending byte otherwise.
    std::size_t used = 0;
  };

  explicit HeadScanner(unsigned max_fields) : max_fields_(max_fields) {}

  // Walks over the next bytes of the stream, up to the first event but More. What it says does not
  // depend on how the stream is cut.
  Step scan(std::span<const std::uint8_t> bytes) noexcept;
  // Ready for the next head.
  void reset() noexcept;
  // Bytes came that are not HTTP, and more are needed to say what they are.
  [[nodiscard]] bool sniffing() const noexcept { return state_ == State::Sniffing; }
  // The status code once it is complete, 0 before.
  [[nodiscard]] int status() const noexcept { return digits_ == 3 ? code_ : 0; }
  // Fixed text, for NotHttp and Malformed; also for a stream that ended while sniffing().
  [[nodiscard]] std::string_view reason() const noexcept { return reason_; }

 private:
  enum class State : std::uint8_t {
    Blank,     // empty lines in front of the status line, as servers are known to send after a body
    Version,   // "HTTP/1."
    Minor,     // one digit
    Space,     // at least one
    Code,      // three digits
    CodeEnd,   // what may follow them
    Reason,    // to the end of the status line
    Cr,        // behind the CR of a line; an LF must follow
    Start,     // first byte of a line
    Name,      // of a field
    Value,     // of a field, or a folded continuation
    EndCr,     // behind the CR of the empty line
    Sniffing,  // not HTTP: collects what names the protocol
  };
  Event push(std::uint8_t byte) noexcept;
  Event status_line(std::uint8_t byte) noexcept;
  Event status_code(std::uint8_t byte) noexcept;
  Event field_line(std::uint8_t byte) noexcept;
  Event line_start(std::uint8_t byte) noexcept;
  Event text(std::uint8_t byte) noexcept;
  Event sniff(std::uint8_t byte) noexcept;
  Event next(State state) noexcept;
  Event malformed(std::string_view reason) noexcept;

  static constexpr std::size_t kOpening = 12;  // longer than every signature
  State state_ = State::Blank;
  std::uint8_t opening_size_ = 0;
  std::uint8_t digits_ = 0;
  int code_ = 0;
  unsigned fields_ = 0;
  unsigned max_fields_;
  std::array<char, kOpening> opening_{};
  std::string_view reason_;
};

}  // namespace proxyvpn::connect
