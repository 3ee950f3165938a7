#pragma once
// Digest authentication as a calculation (RFC 7616): a challenge as a value, an answer as text.
// Left out, because no proxy is known to ask for it: SHA-512-256 (whose example in RFC 7616 3.9.2
// does not match its own definition) and qop=auth-int (a CONNECT has no body).
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/secret.h"
#include "connect/http_auth_challenge.h"
#include "connect/http_connect.h"

namespace proxyvpn::connect {

enum class DigestAlgorithm : std::uint8_t { Md5, Md5Sess, Sha256, Sha256Sess };

struct DigestChallenge {
  std::string realm;
  std::string nonce;
  std::optional<std::string> opaque;
  DigestAlgorithm algorithm = DigestAlgorithm::Md5;
  bool names_algorithm =
      false;              // a challenge from before RFC 2617 may not; then neither does the answer
  bool qop_auth = false;  // false: the form of RFC 2069, without nonce count
  bool stale = false;     // the nonce was too old, the password was right
  bool userhash = false;
  friend bool operator==(const DigestChallenge&, const DigestChallenge&) = default;
};

// Realm, nonce and opaque together; a longer challenge is not answered.
inline constexpr std::size_t kMaxDigestText = std::size_t{8} * 1024;

// Empty when it is not Digest, lacks realm or nonce, asks for an algorithm or a quality of
// protection that is not spoken here, or could not be repeated in a header field.
std::optional<DigestChallenge> to_digest(const Challenge& challenge);
// Higher is better: SHA-256 before MD5, the plain form before "-sess".
[[nodiscard]] int preference(DigestAlgorithm algorithm) noexcept;

// H(A1) in hex (RFC 7616 3.4.2), as good as the password for this realm.
Secret digest_key(const DigestChallenge& challenge, const Credentials& credentials,
                  std::string_view cnonce);

struct DigestRequest {
  std::string_view method = "CONNECT";
  std::string_view uri;
  std::string_view cnonce;
  std::uint32_t nonce_count = 1;
};
// The "response" parameter (3.4.1).
std::string digest_response(const DigestChallenge& challenge, const Secret& key,
                            const DigestRequest& request);
// The whole value of Proxy-Authorization, "Digest username=...".
std::string digest_authorization(const DigestChallenge& challenge, const Credentials& credentials,
                                 const Secret& key, const DigestRequest& request);
// The nonce inside such a value, or empty when it is not Digest.
std::string digest_nonce(std::string_view authorization);
// "nextnonce" of a Proxy-Authentication-Info (3.5), or empty when there is none that can be used.
std::string next_nonce(std::string_view info);

}  // namespace proxyvpn::connect
