#include "connect/http_auth_challenge.h"

#include <gtest/gtest.h>

#include <string>

namespace proxyvpn::connect {
namespace {

// "scheme token68" or "scheme name=<value>..."; challenges separated by " | ".
std::string shown(const std::vector<Challenge>& challenges) {
  std::string text;
  for (const Challenge& challenge : challenges) {
    if (!text.empty()) text += " | ";
    text += challenge.scheme;
    if (!challenge.token68.empty()) text += " " + challenge.token68;
    for (const AuthParameter& p : challenge.parameters) text += " " + p.name + "=<" + p.value + ">";
  }
  return text;
}

struct ParseCase {
  std::string value;
  std::string expected;
};

TEST(ParseChallenges, Table) {
  const ParseCase cases[] = {
      {"", ""},
      {" \t ", ""},
      {",", ""},
      {" , ,, ", ""},
      {"Negotiate", "negotiate"},
      {"NTLM, Negotiate", "ntlm | negotiate"},
      {",Negotiate ,", "negotiate"},
      {"Basic realm=\"proxy\"", "basic realm=<proxy>"},
      {"bAsIc REALM=\"Proxy\"", "basic realm=<Proxy>"},
      {"Basic realm=\"\"", "basic realm=<>"},
      {"Basic realm=proxy", "basic realm=<proxy>"},
      {"Basic realm = \"proxy\"", "basic realm=<proxy>"},
      {"Basic\trealm=\"proxy\"", "basic realm=<proxy>"},
      {"Basic   realm=\"proxy\" , charset=\"UTF-8\"", "basic realm=<proxy> charset=<UTF-8>"},
      {"Basic realm=\"a, b\"", "basic realm=<a, b>"},
      {"Basic realm=\"a \\\"b\\\" \\\\c\"", "basic realm=<a \"b\" \\c>"},
      {"Basic realm=\"Digest nonce=x, Basic\"", "basic realm=<Digest nonce=x, Basic>"},
      {"Basic realm=\"x\", Digest realm=\"y\", nonce=\"n\"",
       "basic realm=<x> | digest realm=<y> nonce=<n>"},
      {"Digest realm=\"y\", nonce=\"n\", Basic realm=\"x\"",
       "digest realm=<y> nonce=<n> | basic realm=<x>"},
      {"Digest realm=\"a\", nonce=\"1\", algorithm=MD5, Digest realm=\"a\", nonce=\"1\", "
       "algorithm=SHA-256",
       "digest realm=<a> nonce=<1> algorithm=<MD5> | digest realm=<a> nonce=<1> "
       "algorithm=<SHA-256>"},
      {"Digest qop=\"auth, auth-int\",stale=true", "digest qop=<auth, auth-int> stale=<true>"},
      {"Digest ,realm=\"x\",,nonce=\"n\"", "digest realm=<x> nonce=<n>"},
      {"Digest nonce=MTIzNA==, realm=x", "digest nonce=<MTIzNA==> realm=<x>"},
      {"Digest nonce=a/b+c, realm=x", "digest nonce=<a/b+c> realm=<x>"},
      {"Negotiate YIIJvwYGKwYBBQUCoIIJszCCCa8=", "negotiate YIIJvwYGKwYBBQUCoIIJszCCCa8="},
      {"NTLM TlRMTVNTUAAC==, Basic realm=\"x\"", "ntlm TlRMTVNTUAAC== | basic realm=<x>"},
      {"Negotiate abc=", "negotiate abc="},
      {"Negotiate abc=def", "negotiate abc=<def>"},
      {"Negotiate abc , Basic realm=x", "negotiate abc | basic realm=<x>"},
      {"Newauth realm=\"apps\", type=1, title=\"Login to \\\"apps\\\"\", Basic realm=\"simple\"",
       "newauth realm=<apps> type=<1> title=<Login to \"apps\"> | basic realm=<simple>"},
      // Broken members don't hide good ones.
      {"=, Basic realm=\"x\"", "basic realm=<x>"},
      {"\"stray\", Basic realm=\"x\"", "basic realm=<x>"},
      {"Basic realm=, charset=UTF-8", "basic realm= charset=<UTF-8>"},
      {"Basic realm=\"x\" garbage, charset=UTF-8", "basic realm=<x> charset=<UTF-8>"},
      {"Digest realm=\"x\" nonce=\"n\"", "digest realm=<x>"},
      {"Basic realm=\"never ends", "basic"},
      {"Basic realm=\"never ends\\", "basic"},
      {"Basic realm=\"never ends\\\"", "basic"},
      {"realm=\"x\"", ""},
      {"realm=\"x\", Basic", "basic"},
      {"Basic realm=\"x\"; charset=UTF-8, b=c", "basic realm=<x> b=<c>"},
      {"\xff\xfe, Basic", "basic"},
      {"Basic realm=\"\xc3\xbc\"", "basic realm=<\xc3\xbc>"},
      {std::string("Basic realm=\"a\0b\"", 17), "basic realm=<" + std::string("a\0b", 3) + ">"},
      {std::string("\0, Basic", 8), "basic"},
  };
  for (const ParseCase& c : cases)
    EXPECT_EQ(c.expected, shown(parse_challenges(c.value))) << c.value;
}

TEST(ParseChallenges, TakesNoMoreThanItsLimits) {
  std::string many_schemes;
  std::string many_parameters = "Digest a=b";
  for (int i = 0; i < 5000; ++i) {
    many_schemes += "Basic,";
    many_parameters += ", a=b";
  }
  EXPECT_EQ(kMaxChallenges, parse_challenges(many_schemes).size());
  const auto one = parse_challenges(many_parameters);
  ASSERT_EQ(1u, one.size());
  EXPECT_EQ(kMaxAuthParameters, one[0].parameters.size());
}

TEST(ParseChallenges, FindTakesTheFirst) {
  const auto challenges = parse_challenges("Digest Realm=one, realm=two");
  ASSERT_EQ(1u, challenges.size());
  ASSERT_NE(nullptr, challenges[0].find("realm"));
  EXPECT_EQ("one", *challenges[0].find("realm"));
  EXPECT_EQ(nullptr, challenges[0].find("nonce"));
}

TEST(ParseAuthParameters, Table) {
  const ParseCase cases[] = {
      {"nextnonce=\"a,b\", qop=auth, rspauth=\"\"", "nextnonce=<a,b> qop=<auth> rspauth=<>"},
      {"nextnonce=abc", "nextnonce=<abc>"},
      {",, x = y ,", "x=<y>"},
      {"broken, x=y", "x=<y>"},
      {"x=\"open", ""},
      {"", ""},
  };
  for (const ParseCase& c : cases) {
    std::string text;
    for (const AuthParameter& p : parse_auth_parameters(c.value)) {
      if (!text.empty()) text += " ";
      text += p.name + "=<" + p.value + ">";
    }
    EXPECT_EQ(c.expected, text) << c.value;
  }
}

}  // namespace
}  // namespace proxyvpn::connect
