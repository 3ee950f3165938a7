#include "connect/http_auth.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <set>
#include <string>
#include <vector>

#include "connect/http_auth_digest.h"

namespace proxyvpn::connect {
namespace {

int hex_calls = 0;
std::string counted_hex() { return "cnonce-" + std::to_string(++hex_calls); }

class Fixture : public ::testing::Test {
 protected:
  void use(std::optional<Credentials> credentials) {
    authenticator_ = make_authenticator(std::move(credentials), counted_hex);
  }
  void SetUp() override { use(Credentials{"alice", Secret("secret")}); }

  std::string authorization() { return authenticator_->authorization("h:1"); }
  // Empty when authorization() has a new answer, else why not.
  std::string challenge(const std::vector<std::string>& values, const std::string& sent) {
    std::string_view why = "not set";
    const bool yes = authenticator_->challenge(values, sent, &why);
    EXPECT_EQ(yes, why.empty());
    return std::string(why);
  }
  static std::string digest(const std::string& nonce, const std::string& more = "") {
    return "Digest realm=\"r\", qop=\"auth\", nonce=\"" + nonce + "\"" + more;
  }
  // What an answer says: "nonce/nc".
  static std::string nonce_and_count(const std::string& answer) {
    const std::size_t at = answer.find("nc=");
    if (at == std::string::npos) return answer;
    return digest_nonce(answer) + "/" +
           std::to_string(std::stoul(answer.substr(at + 3, 8), nullptr, 16));
  }
  // The first tunnel: Basic, challenged with this nonce, accepted.
  void learn(const std::string& nonce) {
    ASSERT_EQ("", challenge({digest(nonce)}, authorization()));
    authenticator_->release(authorization(), true, "");
  }

  std::unique_ptr<Authenticator> authenticator_;
};

using Auth = Fixture;
const std::string kWrong = "the proxy rejects the user name or the password";

TEST_F(Auth, NobodyIsNamedWithoutCredentials) {
  use(std::nullopt);
  EXPECT_EQ("", authorization());
  EXPECT_EQ("the proxy asks for a user name and password and none were given",
            challenge({"Basic realm=x"}, ""));
}

TEST_F(Auth, WhatCannotBeAnsweredIsNamed) {
  const std::string basic = authorization();
  EXPECT_EQ("the proxy asks for authentication (407) but does not say which kind",
            challenge({}, basic));
  EXPECT_EQ("the proxy asks for authentication (407) but does not say which kind",
            challenge({"", " , "}, basic));
  EXPECT_EQ(
      "the proxy offers only NTLM, Negotiate or Kerberos authentication, proxyvpn speaks Basic and "
      "Digest",
      challenge({"NTLM", "Negotiate"}, basic));
  EXPECT_EQ("the proxy offers no authentication that proxyvpn speaks (Basic and Digest)",
            challenge({"Bearer realm=x"}, basic));
  EXPECT_EQ(
      "the proxy asks for a form of Digest that proxyvpn does not speak (it speaks MD5 and SHA-256 "
      "with qop=auth)",
      challenge({digest("n", ", algorithm=SHA-512-256"), "NTLM"}, basic));
  EXPECT_EQ(kWrong, challenge({"Basic realm=x"}, basic));
  EXPECT_EQ(basic, authorization());
}

TEST_F(Auth, TheStrongestOfferIsTaken) {
  struct Case {
    std::vector<std::string> values;
    std::string part;
  };
  const Case cases[] = {
      {{"Basic realm=x", digest("a", ", algorithm=MD5"), digest("b", ", algorithm=SHA-256")},
       "algorithm=SHA-256"},
      {{digest("b", ", algorithm=SHA-256") + ", " + digest("a") + ", Basic realm=x"},
       "algorithm=SHA-256"},
      {{digest("b", ", algorithm=SHA-256-sess"), digest("a", ", algorithm=MD5")},
       "algorithm=SHA-256-sess"},
      {{digest("b", ", algorithm=MD5-sess"), digest("a", ", algorithm=MD5")}, "algorithm=MD5,"},
      {{digest("b", ", algorithm=SHA-512-256"), digest("a", ", algorithm=MD5"), "NTLM"},
       "algorithm=MD5,"},
      {{"Negotiate", "Basic realm=x, " + digest("a")}, "nonce=\"a\""},
  };
  for (const Case& c : cases) {
    SetUp();
    ASSERT_EQ("", challenge(c.values, authorization()));
    const std::string answer = authorization();
    EXPECT_NE(std::string::npos, answer.find(c.part)) << answer;
  }
}

TEST_F(Auth, CountRisesFromTunnelToTunnel) {
  learn("n");
  for (int i = 2; i < 20; ++i) {
    const std::string answer = authorization();
    EXPECT_EQ("n/" + std::to_string(i), nonce_and_count(answer));
    authenticator_->release(answer, true, "");
  }
}

TEST_F(Auth, SessionAlgorithmKeepsItsClientNonce) {
  ASSERT_EQ("", challenge({digest("n", ", algorithm=MD5-sess")}, authorization()));
  const std::string first = authorization();
  authenticator_->release(first, true, "");
  const std::string second = authorization();
  const std::size_t at = first.find("cnonce=");
  ASSERT_NE(std::string::npos, at);
  EXPECT_EQ(first.substr(at, 20), second.substr(second.find("cnonce="), 20));
}

// Counts of one nonce must arrive in order, and tunnels are different connections.
TEST_F(Auth, TunnelsUnderWayNeverShareANonce) {
  learn("n1");
  const std::string first = authorization();
  EXPECT_EQ("n1/2", nonce_and_count(first));
  // The second one finds none idle: it asks to be challenged.
  EXPECT_EQ("", authorization());
  ASSERT_EQ("", challenge({digest("n2")}, ""));
  const std::string second = authorization();
  EXPECT_EQ("n2/1", nonce_and_count(second));
  authenticator_->release(first, true, "");
  authenticator_->release(second, true, "");
  // From now on two at a time need no challenge.
  std::set<std::string> both{nonce_and_count(authorization()), nonce_and_count(authorization())};
  EXPECT_EQ((std::set<std::string>{"n1/3", "n2/2"}), both);
}

TEST_F(Auth, ColdBurstOfBasicEndsWithANonceForEach) {
  std::vector<std::string> sent(50);
  for (auto& value : sent) value = authorization();
  std::vector<std::string> expected;
  std::vector<std::string> answers;
  for (std::size_t i = 0; i < sent.size(); ++i) {
    const std::string nonce = "n" + std::to_string(i);
    challenge({digest(nonce)}, sent[i]);
    sent[i] = authorization();
    expected.push_back(nonce + "/1");
    answers.push_back(nonce_and_count(sent[i]));
  }
  EXPECT_EQ(expected, answers);
  for (const auto& answer : sent) authenticator_->release(answer, true, "");
  std::set<std::string> later;
  for (std::size_t i = 0; i < sent.size(); ++i) later.insert(nonce_and_count(authorization()));
  EXPECT_EQ(sent.size(), later.size());
  EXPECT_EQ("", authorization());
}

TEST_F(Auth, AbandonedAnswersGiveTheirNonceBack) {
  learn("n");
  authenticator_->release(authorization(), false, "");
  EXPECT_EQ("n/3", nonce_and_count(authorization()));
}

TEST_F(Auth, ProxyThatGivesEverybodyTheSameNonceGetsRisingCounts) {
  const std::string one = authorization();
  const std::string two = authorization();
  ASSERT_EQ("", challenge({digest("n")}, one));
  const std::string first = authorization();
  EXPECT_EQ("n/1", nonce_and_count(first));
  ASSERT_EQ("", challenge({digest("n")}, two));
  const std::string second = authorization();
  EXPECT_EQ("n/2", nonce_and_count(second));
  authenticator_->release(first, true, "");
  EXPECT_EQ("", authorization());
  authenticator_->release(second, true, "");
  EXPECT_EQ("n/3", nonce_and_count(authorization()));
}

TEST_F(Auth, WrongPasswordIsSaidAtOnceAndItsNonceIsForgotten) {
  ASSERT_EQ("", challenge({digest("n1")}, authorization()));
  EXPECT_EQ(kWrong, challenge({digest("n2")}, authorization()));
  EXPECT_EQ("", authorization());
  // The same nonce again is the same answer again.
  ASSERT_EQ("", challenge({digest("n3")}, ""));
  EXPECT_EQ(kWrong, challenge({digest("n3")}, authorization()));
}

TEST_F(Auth, StaleNonceIsReplaced) {
  learn("n1");
  ASSERT_EQ("", challenge({digest("n2", ", stale=true")}, authorization()));
  EXPECT_EQ("n2/1", nonce_and_count(authorization()));
  EXPECT_EQ("", authorization());  // n1 is gone
}

TEST_F(Auth, StaleWithTheSameNonceGoesOnCounting) {
  learn("n1");
  ASSERT_EQ("", challenge({digest("n1", ", stale=true")}, authorization()));
  EXPECT_EQ("n1/3", nonce_and_count(authorization()));
  EXPECT_EQ("", authorization());  // it is leased, not idle as well
}

TEST_F(Auth, NonceThatWorkedBeforeIsTakenForStaleOnce) {
  learn("n1");
  ASSERT_EQ("", challenge({digest("n2")}, authorization()));
  EXPECT_EQ(kWrong, challenge({digest("n3")}, authorization()));
}

TEST_F(Auth, ProxyThatChangesItsMindIsFollowed) {
  learn("n1");
  const std::string sent = authorization();
  ASSERT_EQ("", challenge({"Basic realm=x"}, sent));
  const std::string basic = authorization();
  EXPECT_TRUE(basic.starts_with("Basic "));
  ASSERT_EQ("", challenge({digest("n2")}, basic));
  EXPECT_EQ("n2/1", nonce_and_count(authorization()));
}

TEST_F(Auth, TunnelWithoutAnswerIsChallengedToBasicAgain) {
  learn("n1");
  static_cast<void>(authorization());
  ASSERT_EQ("", authorization());
  ASSERT_EQ("", challenge({"Basic realm=x"}, ""));
  EXPECT_TRUE(authorization().starts_with("Basic "));
}

TEST_F(Auth, NextNonceReplacesTheOldOne) {
  learn("n1");
  const std::string first = authorization();
  authenticator_->release(first, true, "nextnonce=\"n2\"");
  EXPECT_EQ("n2/1", nonce_and_count(authorization()));
  EXPECT_EQ("", authorization());
}

TEST_F(Auth, NextNonceOfManyTunnelsLosesNone) {
  learn("n1");
  const std::string first = authorization();
  ASSERT_EQ("", challenge({digest("n2")}, ""));
  const std::string second = authorization();
  authenticator_->release(first, true, "nextnonce=\"m1\"");
  authenticator_->release(second, true, "nextnonce=\"m2\"");
  std::set<std::string> both{nonce_and_count(authorization()), nonce_and_count(authorization())};
  EXPECT_EQ((std::set<std::string>{"m1/1", "m2/1"}), both);
  EXPECT_EQ("", authorization());
}

TEST_F(Auth, IdleNoncesAreBounded) {
  const std::string basic = authorization();
  for (std::size_t i = 0; i < 4 * kMaxIdleNonces; ++i) {
    ASSERT_EQ("", challenge({digest("n" + std::to_string(i))}, basic));  // nobody takes the answer
  }
  std::size_t idle = 0;
  while (!authorization().empty()) ++idle;
  EXPECT_EQ(kMaxIdleNonces + 1, idle);
}

TEST_F(Auth, NoAnswerToDigestHasThePasswordInIt) {
  ASSERT_EQ("", challenge({digest("n1")}, authorization()));
  EXPECT_EQ(std::string::npos, authorization().find("secret"));
}

}  // namespace
}  // namespace proxyvpn::connect
