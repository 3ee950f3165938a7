#include "connect/http_auth_digest.h"

#include <nettle/md5.h>
#include <nettle/sha2.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <initializer_list>
#include <span>

#include "base/hex.h"

namespace proxyvpn::connect {
namespace {

bool is_sha256(DigestAlgorithm algorithm) noexcept {
  return algorithm == DigestAlgorithm::Sha256 || algorithm == DigestAlgorithm::Sha256Sess;
}

bool is_session(DigestAlgorithm algorithm) noexcept {
  return algorithm == DigestAlgorithm::Md5Sess || algorithm == DigestAlgorithm::Sha256Sess;
}

std::string_view name(DigestAlgorithm algorithm) noexcept {
  switch (algorithm) {
    case DigestAlgorithm::Md5:
      return "MD5";
    case DigestAlgorithm::Md5Sess:
      return "MD5-sess";
    case DigestAlgorithm::Sha256:
      return "SHA-256";
    case DigestAlgorithm::Sha256Sess:
      return "SHA-256-sess";
  }
  return {};
}

std::optional<DigestAlgorithm> to_algorithm(std::string_view text) noexcept {
  for (const auto algorithm : {DigestAlgorithm::Md5, DigestAlgorithm::Md5Sess,
                               DigestAlgorithm::Sha256, DigestAlgorithm::Sha256Sess}) {
    if (equal_ignoring_case(text, name(algorithm))) return algorithm;
  }
  return std::nullopt;
}

const std::uint8_t* data(std::string_view text) noexcept {
  return reinterpret_cast<const std::uint8_t*>(text.data());
}

// H(part ":" part ...) in hex. The hash state has seen the password: wiped.
std::string hash(bool sha256, std::initializer_list<std::string_view> parts) {
  md5_ctx md5;
  sha256_ctx sha;
  md5_init(&md5);
  sha256_init(&sha);
  const auto update = [&](std::string_view text) {
    if (sha256) {
      sha256_update(&sha, text.size(), data(text));
    } else {
      md5_update(&md5, text.size(), data(text));
    }
  };
  bool first = true;
  for (const auto part : parts) {
    if (!first) update(":");
    first = false;
    update(part);
  }
  std::array<std::uint8_t, SHA256_DIGEST_SIZE> digest{};
  const std::size_t size = sha256 ? std::size_t{SHA256_DIGEST_SIZE} : std::size_t{MD5_DIGEST_SIZE};
  if (sha256) {
    sha256_digest(&sha, size, digest.data());
  } else {
    md5_digest(&md5, size, digest.data());
  }
  wipe(reinterpret_cast<char*>(&md5), sizeof md5);
  wipe(reinterpret_cast<char*>(&sha), sizeof sha);
  auto text = hex(std::span(digest).first(size));
  wipe(reinterpret_cast<char*>(digest.data()), digest.size());
  return text;
}

std::string count_text(std::uint32_t count) {
  std::array<char, 9> text{};
  std::snprintf(text.data(), text.size(), "%08x", count);
  return text.data();
}

void append_quoted(std::string& out, std::string_view key, std::string_view value) {
  out.append(key).append("=\"");
  for (const char c : value) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  out += '"';
}

// Whether it may stand in a header field of ours: a line break in a nonce would be a second header.
bool repeatable(std::string_view text) noexcept {
  return std::all_of(text.begin(), text.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return (byte >= 0x20 && byte != 0x7f) || c == '\t';
  });
}

bool lists(std::string_view list, std::string_view wanted) noexcept {
  while (!list.empty()) {
    const std::size_t comma = std::min(list.find(','), list.size());
    auto item = list.substr(0, comma);
    list.remove_prefix(std::min(comma + 1, list.size()));
    while (!item.empty() && (item.front() == ' ' || item.front() == '\t')) item.remove_prefix(1);
    while (!item.empty() && (item.back() == ' ' || item.back() == '\t')) item.remove_suffix(1);
    if (equal_ignoring_case(item, wanted)) return true;
  }
  return false;
}

}  // namespace

int preference(DigestAlgorithm algorithm) noexcept {
  switch (algorithm) {
    case DigestAlgorithm::Md5Sess:
      return 0;
    case DigestAlgorithm::Md5:
      return 1;
    case DigestAlgorithm::Sha256Sess:
      return 2;
    case DigestAlgorithm::Sha256:
      return 3;
  }
  return 0;
}

std::optional<DigestChallenge> to_digest(const Challenge& challenge) {
  if (challenge.scheme != "digest") return std::nullopt;
  const std::string* const realm = challenge.find("realm");
  const std::string* const nonce = challenge.find("nonce");
  if (realm == nullptr || nonce == nullptr || nonce->empty()) return std::nullopt;
  DigestChallenge digest;
  digest.realm = *realm;
  digest.nonce = *nonce;
  if (const auto* opaque = challenge.find("opaque")) digest.opaque = *opaque;
  if (const auto* algorithm = challenge.find("algorithm")) {
    const auto known = to_algorithm(*algorithm);
    if (!known) return std::nullopt;
    digest.algorithm = *known;
    digest.names_algorithm = true;
  }
  if (const auto* qop = challenge.find("qop"); qop != nullptr && !qop->empty()) {
    digest.qop_auth = lists(*qop, "auth");
    if (!digest.qop_auth) return std::nullopt;
  }
  const auto* stale = challenge.find("stale");
  digest.stale = stale != nullptr && equal_ignoring_case(*stale, "true");
  const auto* userhash = challenge.find("userhash");
  digest.userhash = userhash != nullptr && equal_ignoring_case(*userhash, "true");

  const std::string_view opaque = digest.opaque ? std::string_view(*digest.opaque) : "";
  if (digest.realm.size() + digest.nonce.size() + opaque.size() > kMaxDigestText) {
    return std::nullopt;
  }
  if (!repeatable(digest.realm) || !repeatable(digest.nonce) || !repeatable(opaque)) {
    return std::nullopt;
  }
  return digest;
}

Secret digest_key(const DigestChallenge& challenge, const Credentials& credentials,
                  std::string_view cnonce) {
  const bool sha256 = is_sha256(challenge.algorithm);
  std::string key =
      hash(sha256, {credentials.username, challenge.realm, credentials.password.reveal()});
  if (is_session(challenge.algorithm)) {
    std::string session = hash(sha256, {key, challenge.nonce, cnonce});
    key.swap(session);
    wipe(session);
  }
  Secret secret(key);
  wipe(key);
  return secret;
}

std::string digest_response(const DigestChallenge& challenge, const Secret& key,
                            const DigestRequest& request) {
  const bool sha256 = is_sha256(challenge.algorithm);
  const std::string action = hash(sha256, {request.method, request.uri});
  if (!challenge.qop_auth) return hash(sha256, {key.reveal(), challenge.nonce, action});
  const std::string count = count_text(request.nonce_count);
  return hash(sha256, {key.reveal(), challenge.nonce, count, request.cnonce, "auth", action});
}

std::string digest_authorization(const DigestChallenge& challenge, const Credentials& credentials,
                                 const Secret& key, const DigestRequest& request) {
  std::string out = "Digest ";
  if (challenge.userhash) {
    append_quoted(out, "username",
                  hash(is_sha256(challenge.algorithm), {credentials.username, challenge.realm}));
  } else {
    // UTF-8 outside ASCII may stand in a quoted-string (obs-text), and proxies read it there;
    // "username*" they don't.
    append_quoted(out, "username", credentials.username);
  }
  append_quoted(out, ", realm", challenge.realm);
  append_quoted(out, ", nonce", challenge.nonce);
  append_quoted(out, ", uri", request.uri);
  append_quoted(out, ", response", digest_response(challenge, key, request));
  if (challenge.names_algorithm) out.append(", algorithm=").append(name(challenge.algorithm));
  if (challenge.qop_auth) {
    out.append(", qop=auth, nc=").append(count_text(request.nonce_count));
    append_quoted(out, ", cnonce", request.cnonce);
  } else if (is_session(challenge.algorithm)) {
    append_quoted(out, ", cnonce", request.cnonce);  // A1 depends on it
  }
  if (challenge.opaque) append_quoted(out, ", opaque", *challenge.opaque);
  if (challenge.userhash) out.append(", userhash=true");
  return out;
}

std::string digest_nonce(std::string_view authorization) {
  if (!authorization.starts_with("Digest ")) return {};
  for (const Challenge& answer : parse_challenges(authorization)) {
    if (const auto* nonce = answer.find("nonce")) return *nonce;
  }
  return {};
}

std::string next_nonce(std::string_view info) {
  for (AuthParameter& parameter : parse_auth_parameters(info)) {
    if (parameter.name != "nextnonce") continue;
    if (parameter.value.size() > kMaxDigestText || !repeatable(parameter.value)) return {};
    return std::move(parameter.value);
  }
  return {};
}

}  // namespace proxyvpn::connect
