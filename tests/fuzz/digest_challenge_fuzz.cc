// Proxy-Authenticate and Proxy-Authentication-Info from a hostile proxy. Values are lines.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "connect/http_auth.h"
#include "connect/http_auth_challenge.h"
#include "connect/http_auth_digest.h"

using namespace proxyvpn::connect;

namespace {

std::string fixed_hex() { return "00112233445566778899aabbccddeeff"; }

void require(bool holds) {
  if (!holds) std::abort();
}

// It goes into a header line of ours.
void require_one_line(std::string_view value) {
  for (const char c : value)
    require(c == '\t' || (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f));
  require(value.size() < 4 * kMaxDigestText + 1024);
}

void check_answer(const DigestChallenge& challenge) {
  const Credentials credentials{"us\"er", proxyvpn::Secret("pass")};
  const DigestRequest request{"CONNECT", "192.0.2.1:443", "cnonce", 1};
  const auto key = digest_key(challenge, credentials, request.cnonce);
  const std::string answer = digest_authorization(challenge, credentials, key, request);
  require_one_line(answer);
  // What the proxy reads out of it is what the challenge said.
  const auto read = parse_challenges(answer);
  require(read.size() == 1 && read[0].scheme == "digest");
  require(read[0].find("nonce") != nullptr && *read[0].find("nonce") == challenge.nonce);
  require(read[0].find("realm") != nullptr && *read[0].find("realm") == challenge.realm);
  require(*read[0].find("uri") == request.uri);
  require(challenge.userhash || *read[0].find("username") == credentials.username);
  require(challenge.opaque.has_value() == (read[0].find("opaque") != nullptr));
  require(!challenge.opaque || *read[0].find("opaque") == *challenge.opaque);
  require(digest_nonce(answer) == challenge.nonce);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  std::vector<std::string> lines(1);
  for (const char c : text) {
    if (c == '\n') {
      lines.emplace_back();
    } else {
      lines.back() += c;
    }
  }
  for (const std::string& line : lines) {
    const auto challenges = parse_challenges(line);
    require(challenges.size() <= kMaxChallenges);
    for (const Challenge& challenge : challenges) {
      require(!challenge.scheme.empty() && challenge.parameters.size() <= kMaxAuthParameters);
      if (const auto digest = to_digest(challenge)) check_answer(*digest);
    }
    static_cast<void>(parse_auth_parameters(line));
  }

  // Each line a 407 of its own, with the info of another one in between; never endless nonces.
  const auto authenticator =
      make_authenticator(Credentials{"user", proxyvpn::Secret("pass")}, fixed_hex);
  std::string sent = authenticator->authorization("192.0.2.1:443");
  for (std::size_t i = 0; i < lines.size() && i < 64; ++i) {
    std::string_view why;
    const bool again = authenticator->challenge({&lines[i], 1}, sent, &why);
    require(again == why.empty());
    sent = authenticator->authorization("192.0.2.1:443");
    require(!again || !sent.empty());
    require_one_line(sent);
    if (i % 3 == 2) {
      authenticator->release(sent, true, lines[i / 2]);
      sent = authenticator->authorization("192.0.2.1:443");
      require_one_line(sent);
    }
  }
  return 0;
}
