#include "connect/http_connect.h"

#include <http_parser.h>

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "connect/http_auth_challenge.h"
#include "connect/http_head.h"
#include "connect/proxy_status.h"

namespace proxyvpn::connect {
namespace {

constexpr std::string_view kSilent = "the proxy closed the connection before it answered";
constexpr std::string_view kCutOff = "the proxy closed the connection in the middle of its answer";
constexpr std::string_view kTooLong = "the head of the proxy's answer is longer than 64 KiB";
constexpr std::string_view kTooManyInterim =
    "the proxy sends one interim answer (1xx) after the other";
constexpr std::string_view kBadFraming =
    "the proxy's 407 answer says contradicting things about its length";
constexpr std::string_view kNotValid = "the proxy's answer is not valid HTTP";
constexpr std::string_view kKeepsAsking =
    "the proxy answers every authentication with a new challenge";

constexpr std::string_view kMethod = "CONNECT ";
constexpr std::string_view kHost = " HTTP/1.1\r\nHost: ";
constexpr std::string_view kAuthorization = "\r\nProxy-Authorization: ";
constexpr std::string_view kEnd = "\r\n\r\n";

// What on_headers_complete tells http_parser.
constexpr int kReadBody = 0;
constexpr int kStopHere = 2;

constexpr std::string_view kProxyAuthenticate = "proxy-authenticate";
constexpr std::string_view kProxyAuthenticationInfo = "proxy-authentication-info";

}  // namespace

struct HttpConnect::State {
  // Which fields are read; the others pass by.
  enum class Field : std::uint8_t { Other, ProxyAuthenticate, ProxyAuthenticationInfo };
  enum class Phase : std::uint8_t {
    Head,     // of a reply, interim ones included
    Body,     // of a 407 that will be answered on this connection
    Request,  // request() is to be called
    Done,
  };

  State(const Target& target, Authenticator& shared)
      : authority(connect::authority(target)), authenticator(shared) {
    start_reply();
  }
  ~State() { release(false); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  void start_connection();
  void start_reply();
  Reply feed_head(std::span<const std::uint8_t> bytes);
  Reply end_of_head();
  Reply answer_challenge();
  Reply feed_body(std::span<const std::uint8_t> bytes);
  Reply finish(Outcome outcome, std::string_view reason);
  Reply retry(bool reconnect);
  bool parse_head(std::span<const std::uint8_t> bytes);
  void release(bool accepted);
  // http_parser's callbacks.
  int on_name(std::string_view piece);
  int on_value(std::string_view piece);
  int on_head_complete();
  static State& of(http_parser* parser) { return *static_cast<State*>(parser->data); }
  static const http_parser_settings& settings();

  std::string authority;
  Authenticator& authenticator;
  http_parser parser{};
  HeadScanner scanner{kMaxReplyHeaders};
  Phase phase = Phase::Head;
  Field field = Field::Other;
  bool in_value = false;       // of a field: the next name begins a new one
  bool parser_lost = false;    // http_parser gave up over lengths that don't matter
  bool has_body = false;       // a 407 with a body that is worth reading
  bool head_complete = false;  // as http_parser sees it
  bool body_complete = false;
  bool answers_in_place = false;  // the request went out on a connection that carried a 407
  bool leased = false;            // `sent` was neither released nor challenged yet
  bool has_next = false;
  std::uint8_t name_size = 0;
  unsigned interim = 0;
  unsigned answers = 0;
  std::size_t head_bytes = 0;
  std::size_t body_bytes = 0;
  std::array<char, 32> name{};
  Secret sent;  // value of Proxy-Authorization in the request under way
  Secret next;  // for the next request, taken when the challenge came
  std::vector<std::string> challenges;
  std::string info;
  Reply last;
};

// --- http_parser -------------------------------------------------------------------------------

const http_parser_settings& HttpConnect::State::settings() {
  static const http_parser_settings shared = [] {
    http_parser_settings s;
    http_parser_settings_init(&s);
    s.on_header_field = [](http_parser* p, const char* at, std::size_t n) {
      return of(p).on_name({at, n});
    };
    s.on_header_value = [](http_parser* p, const char* at, std::size_t n) {
      return of(p).on_value({at, n});
    };
    s.on_headers_complete = [](http_parser* p) { return of(p).on_head_complete(); };
    s.on_message_complete = [](http_parser* p) {
      of(p).body_complete = true;
      http_parser_pause(p, 1);
      return 0;
    };
    return s;
  }();
  return shared;
}

int HttpConnect::State::on_name(std::string_view piece) {
  if (in_value) name_size = 0;
  in_value = false;
  // One byte beyond the longest name of interest tells that this one is longer.
  const std::size_t taken = std::min(piece.size(), name.size() - name_size);
  std::copy_n(piece.begin(), taken, name.begin() + name_size);
  name_size = static_cast<std::uint8_t>(name_size + taken);
  return 0;
}

// A value comes in pieces: cut where the input was cut, and at each fold, whose leading space is
// part of the next piece (RFC 9112 5.2 asks for one space or more in its place).
int HttpConnect::State::on_value(std::string_view piece) {
  if (phase != Phase::Head) return 0;  // a trailer field
  if (!in_value) {
    in_value = true;
    field = Field::Other;
    const std::string_view whole(name.data(), name_size);
    if (parser.status_code == 407 && equal_ignoring_case(whole, kProxyAuthenticate)) {
      field = Field::ProxyAuthenticate;
      challenges.emplace_back();
    } else if (equal_ignoring_case(whole, kProxyAuthenticationInfo)) {
      field = Field::ProxyAuthenticationInfo;
      info.clear();
    }
  }
  switch (field) {
    case Field::ProxyAuthenticate:
      challenges.back().append(piece);
      break;
    case Field::ProxyAuthenticationInfo:
      info.append(piece);
      break;
    case Field::Other:
      break;
  }
  return 0;
}

// 2 makes http_parser stop behind the head, whatever the head says about a body: the rest is the
// tunnel's (RFC 9110 9.3.6), the next reply, or nobody's. 0 makes it read the body.
int HttpConnect::State::on_head_complete() {
  head_complete = true;
  if (parser.status_code != 407 || http_should_keep_alive(&parser) == 0) return kStopHere;
  const bool chunked = (parser.flags & F_CHUNKED) != 0;
  const bool has_length = (parser.flags & F_CONTENTLENGTH) != 0;
  // Both: RFC 9112 6.3 takes it for an attack and has the connection closed.
  if (chunked == has_length) return kStopHere;
  if (has_length && parser.content_length > kMaxRefusalBody) return kStopHere;
  has_body = true;
  return kReadBody;
}

// False: this is no HTTP head. Lengths that contradict each other are no reason to give up on a
// reply whose body nobody reads; then the scanner alone finds the end of the head.
bool HttpConnect::State::parse_head(std::span<const std::uint8_t> bytes) {
  if (parser_lost || bytes.empty()) return true;
  http_parser_execute(&parser, &settings(), reinterpret_cast<const char*>(bytes.data()),
                      bytes.size());
  const auto error = HTTP_PARSER_ERRNO(&parser);
  if (error == HPE_OK || error == HPE_PAUSED) return true;
  parser_lost = error == HPE_INVALID_CONTENT_LENGTH || error == HPE_UNEXPECTED_CONTENT_LENGTH;
  return parser_lost;
}

// --- the codec ---------------------------------------------------------------------------------

void HttpConnect::State::start_reply() {
  http_parser_init(&parser, HTTP_RESPONSE);
  parser.data = this;
  parser.allow_chunked_length = 1;  // on_head_complete() decides
  scanner.reset();
  parser_lost = head_complete = has_body = body_complete = in_value = false;
  name_size = 0;
  challenges.clear();
  info.clear();
}

void HttpConnect::State::start_connection() {
  start_reply();
  phase = Phase::Head;
  interim = 0;
  head_bytes = body_bytes = 0;
  last = {};
}

void HttpConnect::State::release(bool accepted) {
  if (std::exchange(leased, false)) authenticator.release(sent.reveal(), accepted, info);
  if (std::exchange(has_next, false)) authenticator.release(next.reveal(), false, {});
}

Reply HttpConnect::State::finish(Outcome outcome, std::string_view reason) {
  if (outcome != Outcome::Malformed) {
    release(last.status != 407);
  } else {
    release(false);
  }
  sent = Secret();
  phase = Phase::Done;
  last.outcome = outcome;
  last.reason = reason;
  return last;
}

Reply HttpConnect::State::retry(bool reconnect) {
  phase = Phase::Request;
  answers_in_place = !reconnect;
  last.outcome = Outcome::Retry;
  last.reconnect = reconnect;
  return last;
}

Reply HttpConnect::State::feed_head(std::span<const std::uint8_t> bytes) {
  std::size_t used = 0;
  while (phase == Phase::Head && used < bytes.size()) {
    const auto rest =
        bytes.subspan(used, std::min(bytes.size() - used, kMaxReplyBytes - head_bytes));
    const auto step = scanner.scan(rest);
    used += step.used;
    head_bytes += step.used;
    last.consumed = used;
    last.status = scanner.status();
    const bool end = step.event == HeadScanner::Event::End;
    // Bytes that only name another protocol are not for the parser.
    const bool http = step.event != HeadScanner::Event::NotHttp && !scanner.sniffing();
    if (http && !(parse_head(rest.first(step.used)) && (head_complete == end || parser_lost))) {
      return finish(Outcome::Malformed, kNotValid);
    }
    switch (step.event) {
      case HeadScanner::Event::NotHttp:
      case HeadScanner::Event::Malformed:
        return finish(Outcome::Malformed, scanner.reason());
      case HeadScanner::Event::End:
        end_of_head();
        break;
      case HeadScanner::Event::More:
        break;
    }
    if (phase == Phase::Head && head_bytes >= kMaxReplyBytes) {
      return finish(Outcome::Malformed, kTooLong);
    }
  }
  return last;
}

Reply HttpConnect::State::end_of_head() {
  const int status = last.status;
  if (status == 407) return answer_challenge();
  if (status >= 200 && status < 300) return finish(Outcome::Established, {});
  if (status >= 200 || status == 101) return finish(Outcome::Refused, refusal_reason(status));
  if (++interim > kMaxInterimReplies) return finish(Outcome::Malformed, kTooManyInterim);
  start_reply();
  last.status = 0;
  return last;
}

Reply HttpConnect::State::answer_challenge() {
  if (parser_lost) return finish(Outcome::Malformed, kBadFraming);
  std::string_view why;
  leased = false;  // challenge() takes it back
  if (!authenticator.challenge(challenges, sent.reveal(), &why)) {
    return finish(Outcome::Refused, why);
  }
  if (++answers > kMaxAnswers) return finish(Outcome::Refused, kKeepsAsking);
  // Taken at once, so that no other tunnel comes between this challenge and its answer.
  std::string value = authenticator.authorization(authority);
  next = Secret(value);
  wipe(value);
  has_next = true;
  if (!has_body) return retry(true);
  if (body_complete) return retry(false);
  phase = Phase::Body;
  return last;
}

Reply HttpConnect::State::feed_body(std::span<const std::uint8_t> bytes) {
  if (bytes.size() > kMaxRefusalBody - body_bytes) return retry(true);
  body_bytes += bytes.size();
  const std::size_t used = http_parser_execute(
      &parser, &settings(), reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (body_complete) {
    last.consumed += used;
    // Bytes behind the body answer nothing that was asked: this connection is out of step.
    return retry(used < bytes.size());
  }
  // A body that does not parse has no end that could be found.
  if (HTTP_PARSER_ERRNO(&parser) != HPE_OK) return retry(true);
  last.consumed += bytes.size();
  return last;
}

HttpConnect::HttpConnect(const Target& target, Authenticator& authenticator)
    : state_(std::make_unique<State>(target, authenticator)) {}
HttpConnect::~HttpConnect() = default;
HttpConnect::HttpConnect(HttpConnect&&) noexcept = default;
HttpConnect& HttpConnect::operator=(HttpConnect&&) noexcept = default;

std::string HttpConnect::request() {
  State& state = *state_;
  if (!state.has_next) {
    state.release(false);  // the request before got no answer
    std::string value = state.authenticator.authorization(state.authority);
    state.next = Secret(value);
    wipe(value);
  }
  state.sent = std::move(state.next);
  state.has_next = false;
  state.leased = true;
  state.start_connection();

  const std::string_view credential = state.sent.reveal();
  std::string text;
  // In one piece, so that no shorter copy of the credential stays behind in freed memory.
  text.reserve(kMethod.size() + kHost.size() + kAuthorization.size() + kEnd.size() +
               2 * state.authority.size() + credential.size());
  text.append(kMethod).append(state.authority).append(kHost).append(state.authority);
  if (!credential.empty()) text.append(kAuthorization).append(credential);
  text.append(kEnd);
  return text;
}

Reply HttpConnect::feed(std::span<const std::uint8_t> bytes) {
  State& state = *state_;
  state.last.consumed = 0;
  if (state.phase == State::Phase::Request) {
    // More than the 407 that was answered: out of step, as in feed_body().
    if (!bytes.empty()) state.last.reconnect = true;
    return state.last;
  }
  if (state.phase == State::Phase::Head) {
    const Reply reply = state.feed_head(bytes);
    if (state.phase == State::Phase::Request && !reply.reconnect && reply.consumed < bytes.size()) {
      return state.retry(true);
    }
    if (state.phase != State::Phase::Body) return reply;
  }
  if (state.phase == State::Phase::Body && state.last.consumed < bytes.size()) {
    return state.feed_body(bytes.subspan(state.last.consumed));
  }
  return state.last;
}

Reply HttpConnect::end_of_stream() {
  State& state = *state_;
  state.last.consumed = 0;
  switch (state.phase) {
    case State::Phase::Done:
      return state.last;
    case State::Phase::Body:
    case State::Phase::Request:
      return state.retry(true);
    case State::Phase::Head:
      break;
  }
  if (state.scanner.sniffing()) return state.finish(Outcome::Malformed, state.scanner.reason());
  const bool silent = state.head_bytes == 0;
  if (silent && std::exchange(state.answers_in_place, false)) {
    // It said that it would keep the connection behind its 407 and did not: the same answer, with
    // the next nonce count, on a new connection.
    return state.retry(true);
  }
  return state.finish(Outcome::Malformed, silent ? kSilent : kCutOff);
}

}  // namespace proxyvpn::connect
