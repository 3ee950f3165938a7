#include "dns/resolv_conf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

namespace proxyvpn::dns {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

std::vector<std::string> texts(const std::vector<Nameserver>& servers) {
  std::vector<std::string> out;
  out.reserve(servers.size());
  for (const auto& server : servers) out.push_back(to_string(server));
  return out;
}

std::vector<std::string> texts(const std::vector<IpAddress>& servers) {
  std::vector<std::string> out;
  out.reserve(servers.size());
  for (const auto& server : servers) out.push_back(to_string(server));
  return out;
}

struct ParseCase {
  const char* why;
  std::string text;
  std::vector<std::string> servers;
  std::size_t notes = 0;
};

TEST(ResolvConf, ReadsLinesAsGlibcDoes) {
  const std::vector<ParseCase> cases = {
      {"empty", "", {}},
      {"one", "nameserver 192.0.2.1\n", {"192.0.2.1"}},
      {"no newline at the end", "nameserver 192.0.2.1", {"192.0.2.1"}},
      {"tab", "nameserver\t192.0.2.1\n", {"192.0.2.1"}},
      {"many blanks", "nameserver  \t 192.0.2.1   \n", {"192.0.2.1"}},
      {"order is kept",
       "nameserver 2001:db8::2\nnameserver 192.0.2.1\n",
       {"2001:db8::2", "192.0.2.1"}},
      {"text behind the address", "nameserver 192.0.2.1 # office\n", {"192.0.2.1"}},
      {"comments", "# nameserver 192.0.2.1\n; nameserver 192.0.2.2\n", {}},
      {"indented is no keyword", "  nameserver 192.0.2.1\n", {}},
      {"other keywords", "search example.org\noptions edns0 ndots:2\nsortlist 192.0.2.0\n", {}},
      {"a longer word", "nameservers 192.0.2.1\n", {}},
      {"no blank", "nameserver192.0.2.1\n", {}},
      {"upper case is no keyword", "NAMESERVER 192.0.2.1\n", {}},
      {"line ends of Windows",
       "nameserver 192.0.2.1\r\nnameserver 192.0.2.2\r\n",
       {"192.0.2.1", "192.0.2.2"}},
      {"IPv6 in full", "nameserver 2001:0db8:0000::0001\n", {"2001:db8::1"}},
      {"zone", "nameserver fe80::1%eth0\n", {"fe80::1%eth0"}},
      {"numeric zone", "nameserver fe80::1%2\n", {"fe80::1%2"}},
      {"the same address in two zones",
       "nameserver fe80::1%a\nnameserver fe80::1%b\n",
       {"fe80::1%a", "fe80::1%b"}},
      {"twice the same", "nameserver 192.0.2.1\nnameserver 192.0.2.1\n", {"192.0.2.1"}},
      {"IPv4-mapped is IPv4", "nameserver ::ffff:192.0.2.1\n", {"192.0.2.1"}},
      {"short form of inet_aton", "nameserver 127.1\n", {"127.0.0.1"}},
      {"a name", "nameserver dns.example\n", {}, 1},
      {"nothing", "nameserver \n", {}, 1},
      {"brackets", "nameserver [2001:db8::1]\n", {}, 1},
      {"port", "nameserver 192.0.2.1:53\n", {}, 1},
      {"zone on IPv4", "nameserver 192.0.2.1%eth0\n", {}, 1},
      {"empty zone", "nameserver fe80::1%\n", {}, 1},
      {"zone longer than a link's name", "nameserver fe80::1%abcdefghijklmnop\n", {}, 1},
      {"NUL", std::string("nameserver 192.0.2.1\0.example\n", 30), {}, 1},
      {"bad lines leave good ones alone", "nameserver x\nnameserver 192.0.2.1\n", {"192.0.2.1"}, 1},
  };
  for (const auto& one : cases) {
    SCOPED_TRACE(one.why);
    const auto conf = parse_resolv_conf(one.text);
    EXPECT_EQ(one.servers, texts(conf.nameservers));
    EXPECT_THAT(conf.notes, SizeIs(one.notes));
  }
}

TEST(ResolvConf, NotesNameTheLineAndTheValueWithoutControlCharacters) {
  const auto conf = parse_resolv_conf("search a\nnameserver \x1b[31mred\n");
  EXPECT_THAT(conf.notes, ElementsAre("line 2: '?[31mred' is not the address of a name server"));
}

TEST(ResolvConf, NumberOfServersIsBounded) {
  std::string text;
  for (int i = 1; i <= 40; ++i) text += "nameserver 192.0.2." + std::to_string(i) + "\n";
  const auto conf = parse_resolv_conf(text);
  EXPECT_THAT(conf.nameservers, SizeIs(kMaxNameservers));
  EXPECT_THAT(conf.notes, ElementsAre("only the first 16 name servers are used, 24 are left out"));
}

TEST(ResolvConf, NumberOfNotesIsBounded) {
  std::string text;
  for (int i = 0; i < 1000; ++i) text += "nameserver no\n";
  const auto conf = parse_resolv_conf(text);
  EXPECT_THAT(conf.notes, SizeIs(kMaxNotes));
  EXPECT_EQ("further notes are left out", conf.notes.back());
}

TEST(ResolvConf, AnAddressCutByTheSizeLimitIsNotTaken) {
  std::string text(kMaxResolvConfBytes - 20, '#');
  text += "\nnameserver 192.0.2.123\n";  // the limit falls behind "192.0.2."
  const auto conf = parse_resolv_conf(text);
  EXPECT_THAT(conf.nameservers, IsEmpty());
  EXPECT_THAT(conf.notes, ElementsAre("only the first 65536 bytes are used"));
}

struct DecideCase {
  const char* why;
  std::optional<std::string_view> resolv_conf;
  std::optional<std::string_view> systemd;
  std::vector<std::string> servers;
  bool only_stub;
  bool known;
  const char* note;  // part of one note; "" for none at all
};

TEST(Resolvers, DecidedFromTheTexts) {
  const std::vector<DecideCase> cases = {
      {"plain",
       "nameserver 192.0.2.1\nnameserver 2001:db8::1\n",
       std::nullopt,
       {"192.0.2.1", "2001:db8::1"},
       false,
       true,
       ""},
      {"systemd's file does not matter without a stub",
       "nameserver 192.0.2.1\n",
       "nameserver 192.0.2.9\n",
       {"192.0.2.1"},
       false,
       true,
       ""},
      {"systemd-resolved",
       "nameserver 127.0.0.53\noptions edns0\n",
       "nameserver 192.0.2.1\nnameserver fe80::1%eth0\n",
       {"192.0.2.1", "fe80::1"},
       true,
       true,
       "which asks 192.0.2.1, fe80::1"},
      {"systemd-resolved's proxy stub",
       "nameserver 127.0.0.54\n",
       "nameserver 192.0.2.1\n",
       {"192.0.2.1"},
       true,
       true,
       "which asks 192.0.2.1"},
      {"systemd-resolved without its file",
       "nameserver 127.0.0.53\n",
       std::nullopt,
       {},
       true,
       false,
       "--dns"},
      {"systemd-resolved that knows none",
       "nameserver 127.0.0.53\n",
       "# No DNS servers known.\n",
       {},
       true,
       false,
       "--dns"},
      {"systemd-resolved that asks another stub",
       "nameserver 127.0.0.53\n",
       "nameserver 127.0.0.1\n",
       {},
       true,
       false,
       "--dns"},
      {"dnsmasq",
       "nameserver 127.0.0.1\n",
       std::nullopt,
       {},
       true,
       false,
       "(127.0.0.1), and nobody knows which servers it asks"},
      {"NetworkManager's dnsmasq",
       "nameserver 127.0.1.1\n",
       std::nullopt,
       {},
       true,
       false,
       "--dns"},
      {"unbound on IPv6", "nameserver ::1\n", std::nullopt, {}, true, false, "(::1)"},
      {"dnsmasq beside systemd-resolved: a guess",
       "nameserver 127.0.0.1\n",
       "nameserver 192.0.2.1\n",
       {"192.0.2.1"},
       true,
       false,
       "allowing those that systemd-resolved has learned (192.0.2.1)"},
      {"systemd-resolved's stub behind another one",
       "nameserver ::1\nnameserver 127.0.0.53\n",
       "nameserver 192.0.2.1\n",
       {"192.0.2.1"},
       true,
       true,
       "systemd-resolved on 127.0.0.53"},
      {"the unspecified address is this machine",
       "nameserver 0.0.0.0\n",
       std::nullopt,
       {},
       true,
       false,
       "--dns"},
      {"stub and a server",
       "nameserver 127.0.0.1\nnameserver 192.0.2.1\n",
       std::nullopt,
       {"192.0.2.1"},
       false,
       true,
       "also names a program on this machine (127.0.0.1)"},
      {"no file", std::nullopt, std::nullopt, {}, true, false, "there is no resolv.conf"},
      {"no name server",
       "search example.org\n",
       std::nullopt,
       {},
       true,
       false,
       "names no name server"},
      {"two zones are one address",
       "nameserver fe80::1%a\nnameserver fe80::1%b\n",
       std::nullopt,
       {"fe80::1"},
       false,
       true,
       "fe80::1%a is allowed on every link"},
  };
  for (const auto& one : cases) {
    SCOPED_TRACE(one.why);
    const auto facts = decide_resolvers(one.resolv_conf, one.systemd);
    EXPECT_EQ(one.servers, texts(facts.servers));
    EXPECT_EQ(one.only_stub, facts.only_loopback_stub);
    EXPECT_EQ(one.known, facts.upstreams_known);
    if (*one.note == '\0') {
      EXPECT_THAT(facts.notes, IsEmpty());
    } else {
      EXPECT_THAT(facts.notes, Contains(HasSubstr(one.note)));
    }
  }
}

class ResolverFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = ::testing::TempDir() + "proxyvpn-resolv-XXXXXX";
    ASSERT_NE(nullptr, ::mkdtemp(pattern.data()));
    directory_ = pattern;
    paths_ = {directory_ + "/resolv.conf", directory_ + "/upstreams"};
  }
  void TearDown() override {
    ::unlink(paths_.resolv_conf.c_str());
    ::unlink(paths_.systemd_upstreams.c_str());
    ::rmdir(directory_.c_str());
  }
  static void write(const std::string& path, const std::string& text) {
    std::ofstream(path) << text;
  }
  std::string directory_;
  ResolverPaths paths_;
};

TEST_F(ResolverFiles, AreReadAndDecided) {
  write(paths_.resolv_conf, "nameserver 127.0.0.53\n");
  write(paths_.systemd_upstreams, "nameserver 192.0.2.1\n");
  const auto facts = read_resolver_facts(paths_);
  ASSERT_TRUE(facts) << facts.error().message;
  EXPECT_THAT(texts(facts->servers), ElementsAre("192.0.2.1"));
  EXPECT_TRUE(facts->upstreams_known);
}

TEST_F(ResolverFiles, MissingOnesAreAFact) {
  const auto facts = read_resolver_facts(paths_);
  ASSERT_TRUE(facts) << facts.error().message;
  EXPECT_THAT(facts->servers, IsEmpty());
  EXPECT_FALSE(facts->upstreams_known);
}

TEST_F(ResolverFiles, AFifoIsRefusedAndDoesNotBlock) {
  ASSERT_EQ(0, ::mkfifo(paths_.resolv_conf.c_str(), 0600));
  const auto facts = read_resolver_facts(paths_);
  ASSERT_FALSE(facts);
  EXPECT_THAT(facts.error().message, HasSubstr(paths_.resolv_conf + " is not a regular file"));
}

TEST_F(ResolverFiles, DevNullIsAnEmptyFile) {
  ASSERT_EQ(0, ::symlink("/dev/null", paths_.resolv_conf.c_str()));
  const auto facts = read_resolver_facts(paths_);
  ASSERT_TRUE(facts) << facts.error().message;
  EXPECT_THAT(facts->notes, Contains(HasSubstr("names no name server")));
}

TEST_F(ResolverFiles, AnUnreadableUpstreamFileMattersOnlyBehindAStub) {
  ASSERT_EQ(0, ::mkfifo(paths_.systemd_upstreams.c_str(), 0600));
  write(paths_.resolv_conf, "nameserver 192.0.2.1\n");
  auto facts = read_resolver_facts(paths_);
  ASSERT_TRUE(facts) << facts.error().message;
  EXPECT_THAT(facts->notes, IsEmpty());
  write(paths_.resolv_conf, "nameserver 127.0.0.53\n");
  facts = read_resolver_facts(paths_);
  ASSERT_TRUE(facts) << facts.error().message;
  EXPECT_FALSE(facts->upstreams_known);
  EXPECT_THAT(facts->notes, Contains(HasSubstr(paths_.systemd_upstreams)));
}

TEST_F(ResolverFiles, ReadingStopsBehindTheLimit) {
  write(paths_.resolv_conf, std::string(kMaxResolvConfBytes * 2, '\n'));
  const auto text = read_text(paths_.resolv_conf);
  ASSERT_TRUE(text) << text.error().message;
  EXPECT_EQ(kMaxResolvConfBytes + 1, text->size());
}

}  // namespace
}  // namespace proxyvpn::dns
