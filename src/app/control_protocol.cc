#include "app/control_protocol.h"

#include <array>

#include "connect/flow_info.h"

namespace proxyvpn::app {
namespace {

constexpr std::array kVerbs = {Verb::Ping,  Verb::Status,   Verb::Counters, Verb::Down,
                               Verb::Flows, Verb::KillFlow, Verb::Reload,   Verb::Direct};
constexpr std::string_view kErrorMark = "error: ";

bool printable(char c) noexcept { return c >= 0x20 && c != 0x7f; }

std::string cleaned(std::string_view text, bool is_key) {
  std::string result;
  result.reserve(text.size());
  for (const char c : text) {
    const bool plain = (static_cast<unsigned char>(c) & 0x80) != 0 || printable(c);
    if (!plain) {
      result += '?';
    } else {
      // A blank ends a key, and no key may look like the mark of an error.
      result += is_key && (c == ' ' || c == ':') ? '_' : c;
    }
  }
  return result;
}

}  // namespace

std::string_view to_string(Verb verb) noexcept {
  switch (verb) {
    case Verb::Ping:
      return "ping";
    case Verb::Status:
      return "status";
    case Verb::Counters:
      return "counters";
    case Verb::Down:
      return "down";
    case Verb::Flows:
      return "flows";
    case Verb::KillFlow:
      return "kill-flow";
    case Verb::Reload:
      return "reload";
    case Verb::Direct:
      return "direct";
  }
  return "?";
}

RequestReader::State RequestReader::refuse(const char* problem) noexcept {
  problem_ = problem;
  state_ = State::Invalid;
  return state_;
}

RequestReader::State RequestReader::feed(std::string_view bytes) {
  if (state_ != State::NeedMore) {
    return bytes.empty() || state_ == State::Invalid ? state_ : refuse("more than one request");
  }
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const char c = bytes[i];
    if (c != '\n') {
      if (!printable(c)) return refuse("a request is one line of plain text");
      if (line_.size() + 1 >= kMaxRequest) return refuse("the request is too long");
      line_ += c;
      continue;
    }
    if (i + 1 != bytes.size()) return refuse("more than one request");
    return understand();
  }
  return state_;
}

RequestReader::State RequestReader::understand() noexcept {
  const std::string_view line = line_;
  const std::size_t blank = line.find(' ');
  const bool has_argument = blank != std::string_view::npos;
  for (const Verb verb : kVerbs) {
    if (line.substr(0, blank) != to_string(verb)) continue;
    request_.verb = verb;
    if (has_argument != (verb == Verb::KillFlow)) break;
    if (has_argument) {
      const auto flow = connect::parse_flow_id(line.substr(blank + 1));
      if (!flow) return refuse("the number of a flow looks like 3.1245");
      request_.flow = *flow;
    }
    state_ = State::Complete;
    return state_;
  }
  return refuse(
      "unknown request: this daemon knows ping, status, counters, down, flows, reload, direct and "
      "kill-flow ID");
}

std::string request_line(const Request& request) {
  std::string line(to_string(request.verb));
  if (request.verb == Verb::KillFlow) line += " " + connect::flow_id_text(request.flow);
  return line + "\n";
}

std::string ok_reply(const Fields& fields) {
  std::string text = "ok\n";
  for (const auto& [key, value] : fields) {
    text += cleaned(key, true) + " " + cleaned(value, false) + "\n";
  }
  return text;
}

std::string error_reply(std::string_view sentence) {
  return std::string(kErrorMark) + cleaned(sentence, false) + "\n";
}

Result<ControlReply> parse_reply(std::string_view text) {
  if (text.size() > kMaxReply) return fail(Code::Protocol, "the daemon's reply is too long");
  ControlReply reply;
  bool first = true;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos) {
      return fail(Code::Protocol, "the daemon's reply breaks off");
    }
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end + 1);
    if (line.substr(0, kErrorMark.size()) == kErrorMark) {
      reply.ok = false;
      reply.problem = cleaned(line.substr(kErrorMark.size()), false);
      return reply;
    }
    if (first) {
      if (line != "ok") return fail(Code::Protocol, "the daemon's reply is not understood");
      reply.ok = true;
      first = false;
      continue;
    }
    const std::size_t space = line.find(' ');
    if (space == 0 || line.empty()) {
      return fail(Code::Protocol, "the daemon's reply has a line without a name");
    }
    const bool has_value = space != std::string_view::npos;
    reply.fields.emplace_back(cleaned(line.substr(0, has_value ? space : line.size()), true),
                              has_value ? cleaned(line.substr(space + 1), false) : std::string());
  }
  if (first) return fail(Code::Protocol, "the daemon closed the connection without a reply");
  return reply;
}

}  // namespace proxyvpn::app
