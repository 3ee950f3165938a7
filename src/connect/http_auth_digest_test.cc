#include "connect/http_auth_digest.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "connect/http_auth_basic.h"

namespace proxyvpn::connect {
namespace {

// RFC 7616 3.9.1
const std::string kCnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
const Credentials kMufasa{"Mufasa", Secret("Circle of Life")};

DigestChallenge rfc7616(DigestAlgorithm algorithm, bool qop_auth = true) {
  DigestChallenge challenge;
  challenge.realm = "http-auth@example.org";
  challenge.nonce = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v";
  challenge.opaque = "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS";
  challenge.algorithm = algorithm;
  challenge.names_algorithm = true;
  challenge.qop_auth = qop_auth;
  return challenge;
}

std::string response(const DigestChallenge& challenge, const DigestRequest& request,
                     const Credentials& credentials = kMufasa) {
  return digest_response(challenge, digest_key(challenge, credentials, request.cnonce), request);
}

TEST(Digest, ExamplesOfRfc7616Section391) {
  const DigestRequest get{"GET", "/dir/index.html", kCnonce, 1};
  EXPECT_EQ("8ca523f5e9506fed4657c9700eebdbec", response(rfc7616(DigestAlgorithm::Md5), get));
  EXPECT_EQ("753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
            response(rfc7616(DigestAlgorithm::Sha256), get));
}

TEST(Digest, ExampleOfRfc2617Section35) {
  DigestChallenge challenge;
  challenge.realm = "testrealm@host.com";
  challenge.nonce = "dcd98b7102dd2f0e8b11d0f600bfb0c093";
  challenge.qop_auth = true;
  EXPECT_EQ("6629fae49393a05397450978507c4ef1",
            response(challenge, {"GET", "/dir/index.html", "0a4f113b", 1},
                     {"Mufasa", Secret("Circle Of Life")}));
}

// Calculated with another implementation of the hashes (Python's hashlib) after RFC 7616 3.4.
TEST(Digest, OtherFormsOfTheSameExample) {
  const DigestRequest get{"GET", "/dir/index.html", kCnonce, 1};
  EXPECT_EQ("e783283f46242139c486a698fec7211d", response(rfc7616(DigestAlgorithm::Md5Sess), get));
  EXPECT_EQ("2fd51b3a77ad75bad6afad6003e818d767133c46d9e2749e7f5232ae1ea3efd7",
            response(rfc7616(DigestAlgorithm::Sha256Sess), get));
  EXPECT_EQ("7b2cc3b30e75b4777ea31027084363fd",
            response(rfc7616(DigestAlgorithm::Md5, false), get));
  EXPECT_EQ("a1306b0595a6c7fe96c448631fb5cfbd5107bd1fe1da729d978dd7446b812363",
            response(rfc7616(DigestAlgorithm::Sha256, false), get));
  const DigestRequest connect{"CONNECT", "example.net:443", kCnonce, 0x2a};
  EXPECT_EQ("24334d00d08424af68338dcdf39b5d4f", response(rfc7616(DigestAlgorithm::Md5), connect));
  EXPECT_EQ("b3cb8a4a19e948ea0a979e6ddc64c2470490ba145d4f34a1bc975c85bb437c7f",
            response(rfc7616(DigestAlgorithm::Sha256), connect));
}

std::string answer(const DigestChallenge& challenge, const Credentials& credentials = kMufasa) {
  const DigestRequest request{"CONNECT", "example.net:443", kCnonce, 0x2a};
  return digest_authorization(challenge, credentials,
                              digest_key(challenge, credentials, request.cnonce), request);
}

TEST(Digest, WholeAnswer) {
  EXPECT_EQ(
      "Digest username=\"Mufasa\", realm=\"http-auth@example.org\", "
      "nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", uri=\"example.net:443\", "
      "response=\"b3cb8a4a19e948ea0a979e6ddc64c2470490ba145d4f34a1bc975c85bb437c7f\", "
      "algorithm=SHA-256, qop=auth, nc=0000002a, "
      "cnonce=\"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ\", "
      "opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\"",
      answer(rfc7616(DigestAlgorithm::Sha256)));
}

TEST(Digest, OldFormHasNoCountAndNamesNoAlgorithmThatWasNotNamed) {
  DigestChallenge challenge = rfc7616(DigestAlgorithm::Md5, false);
  challenge.opaque.reset();
  challenge.names_algorithm = false;
  const std::string text = answer(challenge);
  for (const std::string_view absent : {"qop", "nc=", "cnonce", "algorithm", "opaque"}) {
    EXPECT_EQ(std::string::npos, text.find(absent)) << text;
  }
}

TEST(Digest, UserhashHidesTheName) {
  DigestChallenge challenge = rfc7616(DigestAlgorithm::Sha256);
  challenge.userhash = true;
  const std::string text = answer(challenge);
  EXPECT_NE(
      std::string::npos,
      text.find("username=\"a947aad205e80e429958a387394944c6b496301e79f89d35a4cc23b6ee12b5b6\""));
  EXPECT_NE(std::string::npos, text.find(", userhash=true"));
  EXPECT_EQ(std::string::npos, text.find("Mufasa"));
  EXPECT_NE(std::string::npos, text.find(response(rfc7616(DigestAlgorithm::Sha256),
                                                  {"CONNECT", "example.net:443", kCnonce, 0x2a})));
}

TEST(Digest, QuotesAndBackslashesAreEscapedInTheAnswerAndHashedPlain) {
  const auto challenges = parse_challenges("Digest realm=\"a \\\"b\\\" \\\\c\", nonce=\"n\"");
  const auto digest = to_digest(challenges.at(0));
  ASSERT_TRUE(digest);
  EXPECT_EQ("a \"b\" \\c", digest->realm);
  const std::string text = answer(*digest, {"DOM\\al\"ice", Secret("x")});
  EXPECT_NE(std::string::npos, text.find("username=\"DOM\\\\al\\\"ice\"")) << text;
  EXPECT_NE(std::string::npos, text.find("realm=\"a \\\"b\\\" \\\\c\"")) << text;
}

TEST(Digest, NonceIsFoundAgainInTheAnswer) {
  DigestChallenge challenge = rfc7616(DigestAlgorithm::Md5);
  challenge.nonce = "a\"b\\c, nonce=\"d\"";
  challenge.realm = "nonce=\"wrong\", nonce=x";
  EXPECT_EQ(challenge.nonce, digest_nonce(answer(challenge)));
  EXPECT_EQ("", digest_nonce("Basic abc="));
  EXPECT_EQ("", digest_nonce(""));
}

struct Understood {
  std::string value;
  bool yes = false;
  DigestAlgorithm algorithm = DigestAlgorithm::Md5;
  bool qop_auth = false;
  bool stale = false;
  friend bool operator==(const Understood&, const Understood&) = default;
};

std::vector<Understood> understood_cases() {
  const std::string base = "Digest realm=\"r\", nonce=\"n\"";
  return {
      {base, true},
      {base + ", algorithm=MD5", true},
      {base + ", algorithm=\"md5\"", true},
      {base + ", algorithm=MD5-sess, qop=auth", true, DigestAlgorithm::Md5Sess, true},
      {base + ", algorithm=sha-256, qop=\"auth-int, auth\"", true, DigestAlgorithm::Sha256, true},
      {base + ", algorithm=SHA-256-sess, qop=\"AUTH\"", true, DigestAlgorithm::Sha256Sess, true},
      {base + ", qop=\"\"", true},
      {base + ", stale=TRUE", true, DigestAlgorithm::Md5, false, true},
      {base + ", stale=\"true\"", true, DigestAlgorithm::Md5, false, true},
      {base + ", stale=false", true},
      {base + ", stale=yes", true},
      {base + ", charset=UTF-8, domain=\"/\", unknown=x", true},
      {"Digest realm=\"\", nonce=\"n\"", true},
      {base + ", algorithm=SHA-512-256", false},
      {base + ", algorithm=SHA-1", false},
      {base + ", algorithm=", true},  // a broken member is left out
      {base + ", qop=\"auth-int\"", false},
      {base + ", qop=\"auth-conf\"", false},
      {"Digest nonce=\"n\"", false},
      {"Digest realm=\"r\"", false},
      {"Digest realm=\"r\", nonce=\"\"", false},
      {"Digest", false},
      {"Basic realm=\"r\", nonce=\"n\"", false},
      {"Digest realm=\"r\", nonce=\"a\r\nEvil: b\"", false},
      {"Digest realm=\"r\n\", nonce=\"n\"", false},
      {base + ", opaque=\"\x01\"", false},
      {base + ", opaque=\"" + std::string(kMaxDigestText, 'x') + "\"", false},
      {"Digest realm=\"r\", nonce=\"" + std::string(kMaxDigestText - 1, 'x') + "\"", true},
  };
}

std::optional<Understood> understood(const std::string& value) {
  const auto challenges = parse_challenges(value);
  if (challenges.size() != 1) return std::nullopt;
  const auto digest = to_digest(challenges[0]);
  if (!digest) return Understood{value, false};
  return Understood{value, true, digest->algorithm, digest->qop_auth, digest->stale};
}

TEST(Digest, WhichChallengesCanBeAnswered) {
  for (const Understood& c : understood_cases()) {
    EXPECT_EQ(c, understood(c.value)) << c.value.substr(0, 100);
  }
}

TEST(Digest, PreferenceIsSha256ThenMd5) {
  EXPECT_GT(preference(DigestAlgorithm::Sha256), preference(DigestAlgorithm::Sha256Sess));
  EXPECT_GT(preference(DigestAlgorithm::Sha256Sess), preference(DigestAlgorithm::Md5));
  EXPECT_GT(preference(DigestAlgorithm::Md5), preference(DigestAlgorithm::Md5Sess));
}

TEST(Digest, NextNonce) {
  EXPECT_EQ("n2", next_nonce("qop=auth, nextnonce=\"n2\", nc=1"));
  EXPECT_EQ("n2", next_nonce("NextNonce=n2"));
  EXPECT_EQ("", next_nonce("rspauth=\"x\""));
  EXPECT_EQ("", next_nonce("nextnonce=\"a\nb\""));
  EXPECT_EQ("", next_nonce("nextnonce=\"" + std::string(kMaxDigestText + 1, 'x') + "\""));
  EXPECT_EQ("", next_nonce(""));
}

std::string value(std::string user, std::string_view password) {
  return std::string(basic_authorization({std::move(user), Secret(password)}).reveal());
}

// RFC 7617 section 2 and 2.1 (the pound sign, UTF-8).
TEST(Basic, Examples) {
  EXPECT_EQ("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", value("Aladdin", "open sesame"));
  EXPECT_EQ("Basic dGVzdDoxMjPCow==", value("test", "123\xc2\xa3"));
  EXPECT_EQ("Basic Og==", value("", ""));
  EXPECT_EQ("Basic YTo=", value("a", ""));
  EXPECT_EQ("Basic OmE=", value("", "a"));
  EXPECT_EQ("Basic YTpiOmM=", value("a", "b:c"));
}

}  // namespace
}  // namespace proxyvpn::connect
