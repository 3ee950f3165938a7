#include "connect/http_auth_challenge.h"

#include <algorithm>
#include <optional>
#include <utility>

namespace proxyvpn::connect {
namespace {

char lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

std::string lower(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(), [](char c) { return lower(c); });
  return result;
}

bool is_alpha_or_digit(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool is_token_char(char c) noexcept {
  return is_alpha_or_digit(c) ||
         (c != 0 && std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos);
}

bool is_token68_char(char c) noexcept {
  return is_alpha_or_digit(c) ||
         (c != 0 && std::string_view("-._~+/").find(c) != std::string_view::npos);
}

// A position in a field value. Every function either takes what it names or leaves the position.
class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  [[nodiscard]] bool done() const noexcept { return at_ >= text_.size(); }
  [[nodiscard]] bool at(char c) const noexcept { return !done() && text_[at_] == c; }
  bool take(char c) noexcept {
    if (!at(c)) return false;
    ++at_;
    return true;
  }
  bool spaces() noexcept {
    const std::size_t begin = at_;
    while (at(' ') || at('\t')) ++at_;
    return at_ != begin;
  }
  std::string_view token() noexcept {
    const std::size_t begin = at_;
    while (!done() && is_token_char(text_[at_])) ++at_;
    return text_.substr(begin, at_ - begin);
  }
  // token68 only when a comma or the end follows: "abc=" is one, "abc=def" is a parameter.
  std::string_view token68() noexcept {
    const std::size_t begin = at_;
    while (!done() && is_token68_char(text_[at_])) ++at_;
    if (at_ == begin) return {};
    while (at('=')) ++at_;
    const std::size_t end = at_;
    spaces();
    if (done() || at(',')) return text_.substr(begin, end - begin);
    at_ = begin;
    return {};
  }
  std::optional<std::string> quoted_string() {
    const std::size_t begin = at_;
    std::string value;
    if (!take('"')) return std::nullopt;
    while (!done() && !at('"')) {
      if (at('\\') && at_ + 1 < text_.size()) ++at_;
      value += text_[at_++];
    }
    if (take('"')) return value;
    at_ = begin;
    return std::nullopt;
  }
  // "=" value behind a name.
  std::optional<std::string> value() {
    const std::size_t begin = at_;
    spaces();
    if (take('=')) {
      spaces();
      if (at('"')) {
        if (auto quoted = quoted_string()) return quoted;
      } else if (const auto word = unquoted(); !word.empty()) {
        return std::string(word);
      }
    }
    at_ = begin;
    return std::nullopt;
  }
  // Up to the next comma that is not in quotes.
  void skip_member() noexcept {
    bool quoted = false;
    for (; !done() && (quoted || !at(',')); ++at_) {
      if (quoted && at('\\') && at_ + 1 < text_.size()) {
        ++at_;
      } else if (at('"')) {
        quoted = !quoted;
      }
    }
  }
  [[nodiscard]] std::size_t position() const noexcept { return at_; }
  void back_to(std::size_t position) noexcept { at_ = position; }

 private:
  // A token by the letter; nonces go unquoted too, with "/" and "=" in them.
  std::string_view unquoted() noexcept {
    const std::size_t begin = at_;
    while (!done() && !at(',') && !at(' ') && !at('\t') && !at('"')) ++at_;
    return text_.substr(begin, at_ - begin);
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

// name=value of the current challenge; false when what follows is no parameter.
bool read_parameter(Reader& reader, std::vector<AuthParameter>& parameters) {
  const std::size_t begin = reader.position();
  const auto name = reader.token();
  if (!name.empty()) {
    if (auto value = reader.value()) {
      if (parameters.size() < kMaxAuthParameters) {
        parameters.push_back(AuthParameter{lower(name), std::move(*value)});
      }
      return true;
    }
  }
  reader.back_to(begin);
  return false;
}

// A scheme and what follows it in the same list member; false when this is no challenge.
bool read_challenge(Reader& reader, std::vector<Challenge>& challenges) {
  const std::size_t begin = reader.position();
  const auto scheme = reader.token();
  Challenge challenge;
  if (!scheme.empty()) {
    challenge.scheme = lower(scheme);
    const bool separated = reader.spaces();
    if (reader.done() || reader.at(',')) {
      challenges.push_back(std::move(challenge));
      return true;
    }
    if (separated && !reader.at('=')) {
      challenge.token68 = reader.token68();
      if (challenge.token68.empty() && !read_parameter(reader, challenge.parameters)) {
        reader.skip_member();
      }
      challenges.push_back(std::move(challenge));
      return true;
    }
  }
  reader.back_to(begin);
  return false;
}

}  // namespace

bool equal_ignoring_case(std::string_view a, std::string_view b) noexcept {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(),
                                            [](char x, char y) { return lower(x) == lower(y); });
}

const std::string* Challenge::find(std::string_view name) const noexcept {
  for (const AuthParameter& parameter : parameters) {
    if (parameter.name == name) return &parameter.value;
  }
  return nullptr;
}

std::vector<Challenge> parse_challenges(std::string_view value) {
  std::vector<Challenge> challenges;
  Reader reader(value);
  while (!reader.done() && challenges.size() < kMaxChallenges) {
    reader.spaces();
    if (reader.take(',')) continue;
    const bool good =
        (!challenges.empty() && read_parameter(reader, challenges.back().parameters)) ||
        read_challenge(reader, challenges);
    reader.spaces();
    // Whatever stands between here and the comma has no meaning in this grammar.
    if (!good || !reader.at(',')) reader.skip_member();
  }
  return challenges;
}

std::vector<AuthParameter> parse_auth_parameters(std::string_view value) {
  std::vector<AuthParameter> parameters;
  Reader reader(value);
  while (!reader.done()) {
    reader.spaces();
    if (reader.take(',')) continue;
    read_parameter(reader, parameters);
    reader.skip_member();
  }
  return parameters;
}

}  // namespace proxyvpn::connect
