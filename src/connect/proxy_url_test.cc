#include "connect/proxy_url.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <vector>

namespace proxyvpn::connect {
namespace {

using std::string_literals::operator""s;

struct GoodUrl {
  std::string text;
  std::string host;
  int port = 80;
  bool credentials = false;
  std::string username;
  std::string password;
  std::string shown;
  friend bool operator==(const GoodUrl&, const GoodUrl&) = default;
};

GoodUrl parsed_url(const std::string& text) {
  const auto url = parse_proxy_url(text);
  if (!url) return {text, url.error().message, 0, false, "", "", ""};
  GoodUrl good{text, url->host, url->port, url->credentials.has_value(), "", "", redacted(*url)};
  if (url->credentials) {
    good.username = url->credentials->username;
    good.password = url->credentials->password.reveal();
  }
  return good;
}

std::ostream& operator<<(std::ostream& out, const GoodUrl& u) {
  return out << u.host << " port " << u.port << " user '" << u.username << "' password '"
             << u.password << "' shown " << u.shown;
}

TEST(ProxyUrl, WhatIsUnderstood) {
  const GoodUrl cases[] = {
      {"http://proxy", "proxy", 80, false, "", "", "http://proxy:80"},
      {"http://proxy/", "proxy", 80, false, "", "", "http://proxy:80"},
      {"http://proxy:3128", "proxy", 3128, false, "", "", "http://proxy:3128"},
      {"HTTP://Proxy.Example.NET:8080/", "Proxy.Example.NET", 8080, false, "", "",
       "http://Proxy.Example.NET:8080"},
      {"http://proxy.example.", "proxy.example.", 80, false, "", "", "http://proxy.example.:80"},
      {"http://a_b-c.d1:1", "a_b-c.d1", 1, false, "", "", "http://a_b-c.d1:1"},
      {"http://192.0.2.1:65535", "192.0.2.1", 65535, false, "", "", "http://192.0.2.1:65535"},
      {"http://192.0.2.1:00080", "192.0.2.1", 80, false, "", "", "http://192.0.2.1:80"},
      {"http://[2001:db8::1]", "2001:db8::1", 80, false, "", "", "http://[2001:db8::1]:80"},
      {"http://[2001:DB8:0::1]:3128/", "2001:db8::1", 3128, false, "", "",
       "http://[2001:db8::1]:3128"},
      {"http://[::ffff:192.0.2.1]:1", "::ffff:192.0.2.1", 1, false, "", "",
       "http://[::ffff:192.0.2.1]:1"},
      {"http://alice:secret@proxy:3128", "proxy", 3128, true, "alice", "secret",
       "http://alice@proxy:3128"},
      {"http://alice:secret@[2001:db8::1]:3128", "2001:db8::1", 3128, true, "alice", "secret",
       "http://alice@[2001:db8::1]:3128"},
      {"http://alice:@proxy:1", "proxy", 1, true, "alice", "", "http://alice@proxy:1"},
      {"http://alice@proxy:1", "proxy", 1, true, "alice", "", "http://alice@proxy:1"},
      {"http://:secret@proxy:1", "proxy", 1, true, "", "secret", "http://@proxy:1"},
      {"http://:@proxy:1", "proxy", 1, true, "", "", "http://@proxy:1"},
      {"http://@proxy:1", "proxy", 1, false, "", "", "http://proxy:1"},
      {"http://alice:a:b:c@proxy:1", "proxy", 1, true, "alice", "a:b:c", "http://alice@proxy:1"},
      {"http://al%40ice:p%3Aq%2F%3f%23%25%20@proxy:1", "proxy", 1, true, "al@ice", "p:q/?#% ",
       "http://al%40ice@proxy:1"},
      {"http://DOM%5Calice:x@proxy:1", "proxy", 1, true, "DOM\\alice", "x",
       "http://DOM%5Calice@proxy:1"},
      {"http://j%C3%BCrgen:%E2%82%AC@proxy:1", "proxy", 1, true, "j\xc3\xbcrgen", "\xe2\x82\xac",
       "http://j%C3%BCrgen@proxy:1"},
      {"http://j\xc3\xbcrgen:\xe2\x82\xac@proxy:1", "proxy", 1, true, "j\xc3\xbcrgen",
       "\xe2\x82\xac", "http://j%C3%BCrgen@proxy:1"},
      {"http://alice:!$&'()*+,;=[]{}^\"<>|\\`~@proxy:1", "proxy", 1, true, "alice",
       "!$&'()*+,;=[]{}^\"<>|\\`~", "http://alice@proxy:1"},
      {"http://a%3Db:x+y@proxy:1", "proxy", 1, true, "a=b", "x+y", "http://a%3Db@proxy:1"},
  };
  for (const GoodUrl& c : cases) EXPECT_EQ(c, parsed_url(c.text)) << c.text;
}

struct BadUrl {
  std::string text;
  std::string part;  // of the error that tells it from the others
};

const BadUrl kBadUrls[] = {
    {"", "it is empty"},
    {" ", "a space"},
    {"http://proxy:3128 ", "a space"},
    {" http://proxy:3128", "a space"},
    {"http://proxy:3128\n", "a line break"},
    {"http://alicia:hunter two@proxy:3128", "%20"},
    {"http://alicia:hunter\t2@proxy", "control character"},
    {"http://alicia:hunter2@pro\0xy"s, "control character"},
    {"http://alicia:hunter2\x7f@proxy", "control character"},
    {"proxy", "does not begin with http://"},
    {"proxy:3128", "does not begin with http://"},
    {"alicia:hunter2@proxy:3128", "does not begin with http://"},
    {"//proxy:3128", "does not begin with http://"},
    {"http:proxy:3128", "does not begin with http://"},
    {"http:/proxy:3128", "does not begin with http://"},
    {"https://alicia:hunter2@proxy:3128", "TLS to the proxy"},
    {"HTTPS://proxy:3128", "TLS to the proxy"},
    {"socks5://alicia:hunter2@proxy:1080", "socks5 is not supported"},
    {"socks5h://proxy:1080", "socks5h is not supported"},
    {"SOCKS4://proxy:1080", "socks4 is not supported"},
    {"socks://proxy:1080", "socks is not supported"},
    {"ftp://proxy:21", "its scheme is not http"},
    {"hunter2://proxy:21", "its scheme is not http"},
    {"://proxy:21", "its scheme is not http"},
    {"http://", "the host is missing"},
    {"http:///", "the host is missing"},
    {"http://:3128", "the host is missing"},
    {"http://alicia:hunter2@", "the host is missing"},
    {"http://alicia:hunter2@:3128", "the host is missing"},
    {"http://alicia:hunter2@/", "the host is missing"},
    {"http://proxy:", "port behind the colon is missing"},
    {"http://proxy:/", "port behind the colon is missing"},
    {"http://[2001:db8::1]:", "port behind the colon is missing"},
    {"http://proxy:0", "port 0 does not exist"},
    {"http://alicia:hunter2@proxy:00000", "port 00000 does not exist"},
    {"http://proxy:70000", "port 70000 does not exist"},
    {"http://proxy:65536", "port 65536 does not exist"},
    {"http://proxy:123456", "is not a port"},
    {"http://proxy:99999999999999999999", "is not a port"},
    {"http://proxy:+80", "is not a port"},
    {"http://proxy:-1", "is not a port"},
    {"http://proxy:0x50", "is not a port"},
    {"http://proxy:80a", "is not a port"},
    {"http://alicia:hunter2", "is not a port"},
    {"http://proxy:3128/path", "a path, query or fragment"},
    {"http://proxy:3128//", "a path, query or fragment"},
    {"http://proxy:3128?x=y", "a path, query or fragment"},
    {"http://proxy:3128/#f", "a path, query or fragment"},
    {"http://alicia:hunter2/x@proxy:3128", "%2F"},
    {"http://alicia:hunter2?x@proxy:3128", "%2F"},
    {"http://alicia:hunter2#x@proxy:3128", "%2F"},
    {"http://alicia:hun@ter2@proxy:3128", "%40"},
    {"http://alicia@hunter2:hunter2@proxy", "%40"},
    {"http://alicia:hunter2%@proxy", "hexadecimal"},
    {"http://alicia:hunter2%4@proxy", "hexadecimal"},
    {"http://alicia:hunter2%zz@proxy", "hexadecimal"},
    {"http://alicia%:hunter2@proxy", "hexadecimal"},
    {"http://alicia:%+1hunter2@proxy", "hexadecimal"},
    {"http://alicia%3Ax:hunter2@proxy", "contains a colon"},
    {"http://alicia%0D%0A:hunter2@proxy", "user name contains a control character"},
    {"http://alicia:hunter2%0a@proxy", "password contains a control character"},
    {"http://alicia:hunter2%00@proxy", "password contains a control character"},
    {"http://alicia:hunter2%7f@proxy", "password contains a control character"},
    {"http://2001:db8::1:3128", "needs brackets"},
    {"http://alicia:hunter2@2001:db8::1", "needs brackets"},
    {"http://[2001:db8::1", "never closed"},
    {"http://[2001:db8::1:3128", "never closed"},
    {"http://[]:3128", "not an IPv6 address"},
    {"http://[192.0.2.1]:3128", "not an IPv6 address"},
    {"http://[2001:db8::g]:3128", "not an IPv6 address"},
    {"http://[fe80::1%25eth0]:3128", "zone"},
    {"http://[fe80::1%eth0]:3128", "zone"},
    {"http://[2001:db8::1]3128", "between the host and the port"},
    {"http://[2001:db8::1]x:3128", "between the host and the port"},
    {"http://192.0.2.256:3128", "not an IPv4 address"},
    {"http://192.0.2:3128", "not an IPv4 address"},
    {"http://10.1:3128", "not an IPv4 address"},
    {"http://3128", "not an IPv4 address"},
    {"http://proxy..example:1", "a dot with nothing in front"},
    {"http://.proxy:1", "a dot with nothing in front"},
    {"http://.:1", "a dot with nothing in front"},
    {"http://pr%6fxy:1", "no host name has"},
    {"http://proxy\\x:1", "no host name has"},
    {"http://pro,xy:1", "no host name has"},
    {"http://pr\xc3\xb6xy:1", "xn--"},
    {"http://" + std::string(64, 'a') + ":1", "63 characters"},
    {"http://" + std::string(300, 'a') + ":1", "253 characters"},
    {"http://" + std::string(20000, 'a') + ":1", "16 KiB"},
};

void expect_refusal(const BadUrl& c) {
  const auto url = parse_proxy_url(c.text);
  ASSERT_FALSE(url);
  EXPECT_EQ(Code::InvalidArgument, url.error().code);
  EXPECT_THAT(url.error().message, ::testing::HasSubstr(c.part));
  EXPECT_THAT(url.error().message, ::testing::StartsWith("proxy URL: "));
}

TEST(ProxyUrl, WhatIsNotUnderstoodIsExplained) {
  for (const BadUrl& c : kBadUrls) {
    SCOPED_TRACE(c.text.substr(0, 100));
    expect_refusal(c);
  }
}

// The first of these words that is in the text, or empty.
std::string first_of(std::string_view text, const std::vector<std::string_view>& words) {
  for (const std::string_view word : words) {
    if (text.find(word) != std::string_view::npos) return std::string(word);
  }
  return {};
}

TEST(ProxyUrl, NoErrorRepeatsAUserNameOrPassword) {
  std::size_t looked_at = 0;
  for (const BadUrl& c : kBadUrls) {
    const std::vector<std::string_view> secrets = {"hunter", "ter2", "alicia"};
    if (first_of(c.text, secrets).empty()) continue;
    ++looked_at;
    const auto url = parse_proxy_url(c.text);
    EXPECT_EQ("", url ? "understood" : first_of(url.error().message, secrets)) << c.text;
  }
  EXPECT_GT(looked_at, 20u);
}

// What of the two secrets, four letters or more, an error about this URL repeats.
std::string repeated(const std::string& broken) {
  const auto parsed = parse_proxy_url(broken);
  if (parsed) return {};
  return first_of(parsed.error().message, {"zqxw", "qxwv", "xwvu", "ykjz", "kjzq", "jzqp"});
}

// Any wreck of a URL with a secret in it, made by cutting and by putting a wrong byte in.
std::vector<std::string> wrecks(const std::string& url) {
  std::vector<std::string> all;
  for (std::size_t begin = 0; begin < url.size(); ++begin) {
    for (std::size_t length = 0; begin + length <= url.size(); ++length) {
      all.push_back(url.substr(begin, length));
      all.push_back("http://" + url.substr(begin, length));
      all.push_back(std::string(url).erase(begin, length));
    }
    for (int byte = 0; byte < 256; ++byte) {
      all.push_back(std::string(url).replace(begin, 1, 1, static_cast<char>(byte)));
      all.push_back(std::string(url).insert(begin, 1, static_cast<char>(byte)));
    }
  }
  return all;
}

TEST(ProxyUrl, NoErrorRepeatsASecretHoweverTheUrlIsBroken) {
  for (const std::string& wreck : wrecks("http://zqxwvu:ykjzqp@192.0.2.1:3128/")) {
    EXPECT_EQ("", repeated(wreck)) << wreck;
  }
}

TEST(Credentials, WhatAHeaderCannotCarryIsRefusedWithoutBeingRepeated) {
  EXPECT_TRUE(check_credentials({"alicia", Secret("hunter2")}));
  EXPECT_TRUE(check_credentials({"", Secret("")}));
  EXPECT_TRUE(check_credentials({"j\xc3\xbcrgen", Secret("p:w \xe2\x82\xac")}));
  const Credentials bad[] = {
      {"ali:cia", Secret("hunter2")},    {"alicia\n", Secret("hunter2")},
      {"alicia\x7f", Secret("hunter2")}, {"alicia", Secret("hunter2\n")},
      {"alicia", Secret("hunter\r2")},   {"alicia", Secret("hunter2\0"s)},
  };
  for (const Credentials& credentials : bad) {
    const auto checked = check_credentials(credentials);
    EXPECT_EQ("", checked ? "accepted" : first_of(checked.error().message, {"cia", "hunter"}));
  }
}

}  // namespace
}  // namespace proxyvpn::connect
