// The authenticator that all tunnels through one proxy share. See http_connect.h.
//
// Nonces are leased: a tunnel that waits for its answer has its nonce for itself. Squid (and
// others, RFC 7616 3.4.6 allows it) wants the nonce count of a nonce to rise from request to
// request, and two tunnels are two TCP connections, whose requests arrive in any order: with one
// nonce for all, the later count that arrives first makes the earlier one a replay, and the nonce
// dies for both. So the set of nonces grows to the number of tunnels that are set up at the same
// time, and a tunnel that finds none idle pays for one challenge.
#include "connect/http_auth.h"

#include <algorithm>
#include <limits>
#include <unordered_map>
#include <utility>

#include "connect/http_auth_basic.h"
#include "connect/http_auth_challenge.h"
#include "connect/http_auth_digest.h"

namespace proxyvpn::connect {
namespace {

constexpr std::string_view kNeedsCredentials =
    "the proxy asks for a user name and password and none were given";
constexpr std::string_view kWrongCredentials = "the proxy rejects the user name or the password";
constexpr std::string_view kNoScheme =
    "the proxy asks for authentication (407) but does not say which kind";
constexpr std::string_view kUnsupportedDigest =
    "the proxy asks for a form of Digest that proxyvpn does not speak (it speaks MD5 and SHA-256 "
    "with qop=auth)";
constexpr std::string_view kNegotiate =
    "the proxy offers only NTLM, Negotiate or Kerberos authentication, proxyvpn speaks Basic and "
    "Digest";
constexpr std::string_view kUnsupportedScheme =
    "the proxy offers no authentication that proxyvpn speaks (Basic and Digest)";

// What one 407 offers.
struct Offer {
  std::optional<DigestChallenge> digest;  // the best of those that can be answered
  bool basic = false;
  bool other_digest = false;
  bool negotiate = false;
  bool any = false;
};

Offer to_offer(std::span<const std::string> values) {
  Offer offer;
  for (const std::string& value : values) {
    for (const Challenge& challenge : parse_challenges(value)) {
      offer.any = true;
      if (challenge.scheme == "basic") offer.basic = true;
      if (challenge.scheme == "ntlm" || challenge.scheme == "negotiate" ||
          challenge.scheme == "kerberos") {
        offer.negotiate = true;
      }
      if (challenge.scheme != "digest") continue;
      auto digest = to_digest(challenge);
      if (!digest) {
        offer.other_digest = true;
      } else if (!offer.digest ||
                 preference(digest->algorithm) > preference(offer.digest->algorithm)) {
        offer.digest = std::move(digest);
      }
    }
  }
  return offer;
}

std::string_view unsupported(const Offer& offer) noexcept {
  if (offer.other_digest) return kUnsupportedDigest;
  if (offer.negotiate) return kNegotiate;
  return offer.any ? kUnsupportedScheme : kNoScheme;
}

class ProxyAuthenticator final : public Authenticator {
 public:
  ProxyAuthenticator(std::optional<Credentials> credentials, std::string (*random_hex)())
      : credentials_(std::move(credentials)), random_hex_(random_hex) {
    if (credentials_) basic_ = basic_authorization(*credentials_);
  }

  std::string authorization(std::string_view authority) override;
  bool challenge(std::span<const std::string> values, std::string_view sent,
                 std::string_view* why) override;
  void release(std::string_view sent, bool accepted, std::string_view info) override;

 private:
  // One nonce and what belongs to it.
  struct Session {
    DigestChallenge challenge;
    std::string cnonce;  // one for all requests: A1 of the "-sess" algorithms contains the first
    Secret key;
    std::uint32_t nonce_count = 0;
    unsigned leases = 0;  // more than one only when the proxy gives the same nonce twice
    bool accepted = false;
  };
  // The decision of challenge() without its output parameter: empty is yes.
  std::string_view judge(std::span<const std::string> values, std::string_view sent);
  std::string_view judge_digest(const Offer& offer, const std::string& nonce);
  void adopt(DigestChallenge challenge);
  void learn(DigestChallenge challenge);
  Session* lease();
  void give_back(const std::string& nonce);
  void park(const std::string& nonce);
  void forget(const std::string& nonce);

  std::optional<Credentials> credentials_;
  std::string (*random_hex_)();
  Secret basic_;
  bool digest_ = false;                                // the proxy has shown that it wants Digest
  std::unordered_map<std::string, Session> sessions_;  // by nonce
  std::vector<std::string> idle_;                      // nonces that nobody has; newest last
  std::string newest_;  // the nonce of the last challenge: the next lease, so that the tunnel that
                        // was challenged answers with the nonce that it was given
};

std::string ProxyAuthenticator::authorization(std::string_view authority) {
  if (!credentials_) return {};
  if (!digest_) return std::string(basic_.reveal());
  Session* const session = lease();
  if (session == nullptr) return {};
  ++session->nonce_count;
  return digest_authorization(
      session->challenge, *credentials_, session->key,
      {.uri = authority, .cnonce = session->cnonce, .nonce_count = session->nonce_count});
}

bool ProxyAuthenticator::challenge(std::span<const std::string> values, std::string_view sent,
                                   std::string_view* why) {
  const std::string_view refusal = judge(values, sent);
  if (why != nullptr) *why = refusal;
  return refusal.empty();
}

std::string_view ProxyAuthenticator::judge(std::span<const std::string> values,
                                           std::string_view sent) {
  if (!credentials_) return kNeedsCredentials;
  const Offer offer = to_offer(values);
  const std::string nonce = digest_nonce(sent);
  if (!nonce.empty()) return judge_digest(offer, nonce);
  if (offer.digest) {
    digest_ = true;
    adopt(*offer.digest);
    return {};
  }
  if (!offer.basic) return unsupported(offer);
  if (!sent.empty()) return kWrongCredentials;
  digest_ = false;
  return {};
}

// After an answer with `nonce` was refused.
std::string_view ProxyAuthenticator::judge_digest(const Offer& offer, const std::string& nonce) {
  const auto session = sessions_.find(nonce);
  const bool worked_before = session != sessions_.end() && session->second.accepted;
  const bool same = offer.digest && offer.digest->nonce == nonce;
  if (same) {
    give_back(nonce);
  } else {
    forget(nonce);
  }
  if (!offer.digest) {
    if (!offer.basic) return unsupported(offer);
    digest_ = false;
    return {};
  }
  // Without stale=true the password is wrong (RFC 7616 3.3). Some proxies never say it; but a
  // nonce that was good before and is replaced now can only have become too old.
  if (!offer.digest->stale && (same || !worked_before)) return kWrongCredentials;
  adopt(*offer.digest);
  return {};
}

void ProxyAuthenticator::adopt(DigestChallenge challenge) {
  if (!newest_.empty() && newest_ != challenge.nonce) park(newest_);
  newest_ = challenge.nonce;
  learn(std::move(challenge));
}

void ProxyAuthenticator::learn(DigestChallenge challenge) {
  challenge.stale = false;  // was about the request before
  Session& session = sessions_[challenge.nonce];
  // A nonce that is known already keeps its count.
  if (session.challenge == challenge) return;
  session.challenge = std::move(challenge);
  session.cnonce = random_hex_();
  session.key = digest_key(session.challenge, *credentials_, session.cnonce);
}

ProxyAuthenticator::Session* ProxyAuthenticator::lease() {
  std::string nonce;
  if (!newest_.empty()) {
    nonce = std::exchange(newest_, {});
    std::erase(idle_, nonce);
  } else if (!idle_.empty()) {
    nonce = std::move(idle_.back());
    idle_.pop_back();
  }
  const auto found = sessions_.find(nonce);
  if (found == sessions_.end()) return nullptr;
  // One more count would start at zero again and be a replay.
  if (found->second.nonce_count == std::numeric_limits<std::uint32_t>::max()) {
    forget(nonce);
    return nullptr;
  }
  ++found->second.leases;
  return &found->second;
}

void ProxyAuthenticator::give_back(const std::string& nonce) {
  const auto found = sessions_.find(nonce);
  if (found == sessions_.end() || found->second.leases == 0) return;
  if (--found->second.leases == 0 && nonce != newest_) park(nonce);
}

// Keeps a nonce that nobody has for a later tunnel.
void ProxyAuthenticator::park(const std::string& nonce) {
  std::erase(idle_, nonce);
  idle_.push_back(nonce);
  if (idle_.size() <= kMaxIdleNonces) return;
  sessions_.erase(idle_.front());
  idle_.erase(idle_.begin());
}

void ProxyAuthenticator::forget(const std::string& nonce) {
  sessions_.erase(nonce);
  std::erase(idle_, nonce);
  if (newest_ == nonce) newest_.clear();
}

void ProxyAuthenticator::release(std::string_view sent, bool accepted, std::string_view info) {
  const std::string nonce = digest_nonce(sent);
  const auto found = sessions_.find(nonce);
  if (found == sessions_.end()) return;
  found->second.accepted = found->second.accepted || accepted;
  const std::string next = next_nonce(info);
  if (next.empty() || next == nonce) return give_back(nonce);
  // RFC 7615 section 3: the proxy wants later requests to use this nonce instead.
  DigestChallenge challenge = found->second.challenge;
  challenge.nonce = next;
  forget(nonce);
  learn(std::move(challenge));
  if (sessions_[next].leases == 0 && next != newest_) park(next);
}

}  // namespace

std::unique_ptr<Authenticator> make_authenticator(std::optional<Credentials> credentials,
                                                  std::string (*random_hex)()) {
  return std::make_unique<ProxyAuthenticator>(std::move(credentials), random_hex);
}

}  // namespace proxyvpn::connect
