#include "connect/http_connect.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "connect/http_auth.h"

namespace proxyvpn::connect {
namespace {

using std::string_literals::operator""s;
using std::string_view_literals::operator""sv;

const Target kTarget{"192.0.2.7", 443};

std::string fixed_hex() { return "00112233445566778899aabbccddeeff"; }

Credentials alice() { return {"alice", Secret("secret")}; }

std::span<const std::uint8_t> bytes_of(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

// What a whole stream came to, whatever the pieces it was fed in.
struct Answer {
  Outcome outcome = Outcome::NeedMore;
  int status = 0;
  bool reconnect = false;
  std::string reason;
  std::string rest;  // of the stream, behind what belongs to the reply
  friend bool operator==(const Answer&, const Answer&) = default;
};

std::ostream& operator<<(std::ostream& out, const Answer& r) {
  return out << "outcome " << static_cast<int>(r.outcome) << " status " << r.status << " reconnect "
             << r.reconnect << " reason '" << r.reason << "' rest '" << r.rest << "'";
}

Answer result_of(const Reply& reply, std::string_view rest) {
  Answer result{reply.outcome, reply.status, reply.reconnect, std::string(reply.reason), {}};
  if (reply.outcome == Outcome::Established) result.rest = rest;
  return result;
}

// Feeds the stream cut at the given places; `close`: the proxy closes behind it.
Answer feed_pieces(std::string_view stream, const std::vector<std::size_t>& cuts, bool close,
                   bool with_credentials) {
  const auto authenticator =
      make_authenticator(with_credentials ? std::optional(alice()) : std::nullopt, fixed_hex);
  HttpConnect connect(kTarget, *authenticator);
  static_cast<void>(connect.request());
  std::size_t begin = 0;
  Reply reply;
  for (std::size_t i = 0; i <= cuts.size(); ++i) {
    const std::size_t end = i < cuts.size() ? cuts[i] : stream.size();
    reply = connect.feed(bytes_of(stream.substr(begin, end - begin)));
    if (reply.outcome != Outcome::NeedMore) {
      return result_of(reply, stream.substr(begin + reply.consumed));
    }
    EXPECT_EQ(end - begin, reply.consumed);
    begin = end;
  }
  if (close) reply = connect.end_of_stream();
  return result_of(reply, {});
}

struct ReplyCase {
  std::string stream;
  Answer expected;
  bool close = false;
  bool credentials = false;
};

Answer established(int status, std::string rest = {}) {
  return {Outcome::Established, status, false, {}, std::move(rest)};
}
Answer malformed(std::string reason, int status = 0) {
  return {Outcome::Malformed, status, false, std::move(reason), {}};
}
Answer refused(int status, std::string reason) {
  return {Outcome::Refused, status, false, std::move(reason), {}};
}
Answer need_more(int status = 0) { return {Outcome::NeedMore, status, false, {}, {}}; }

const std::string kTls =
    "the proxy speaks TLS on this port; proxyvpn speaks plain HTTP to the proxy";
const std::string kSocks = "the proxy answered like a SOCKS proxy; an HTTP proxy port is needed";
const std::string kMail =
    "the server at the proxy's address greets like FTP or SMTP, it is no HTTP proxy";
const std::string kHttp2 = "the proxy answered in HTTP/2; proxyvpn speaks HTTP/1.1 to the proxy";
const std::string kHtml = "the proxy answered with a bare HTML page, without an HTTP status line";
const std::string kUnknown = "the proxy does not speak HTTP";
const std::string kVersion = "the proxy answered in a version of HTTP other than 1.x";
const std::string kNoCode = "the proxy's status line has no three-digit status code";
const std::string kControl = "the head of the proxy's answer has a control character in it";
const std::string kBareCr = "a line of the proxy's answer has a CR that no LF follows";
const std::string kBadName = "the proxy's answer has a header line without a proper name and colon";
const std::string kBadFold =
    "the proxy's answer has a folded header line with nothing in front of it";
const std::string kTooManyFields = "the proxy's answer has too many header lines";
const std::string kTooLong = "the head of the proxy's answer is longer than 64 KiB";
const std::string kInterim = "the proxy sends one interim answer (1xx) after the other";
const std::string kSilent = "the proxy closed the connection before it answered";
const std::string kCutOff = "the proxy closed the connection in the middle of its answer";
const std::string kBadRequest =
    "the proxy calls the CONNECT request a bad one; it may be no proxy but a web server, or want "
    "TLS";
const std::string kForbidden = "the proxy forbids connections to this target";
const std::string kBadGateway = "the proxy could not connect to the target";
const std::string kNeedsCredentials =
    "the proxy asks for a user name and password and none were given";

std::string repeat(const std::string& text, std::size_t times) {
  std::string all;
  all.reserve(text.size() * times);
  for (std::size_t i = 0; i < times; ++i) all += text;
  return all;
}

const std::string kOkLine = "HTTP/1.1 200 OK\r\n";

std::vector<ReplyCase> success_cases() {
  return {
      {"HTTP/1.1 200 Connection established\r\n\r\n", established(200)},
      {"HTTP/1.1 200\r\n\r\n", established(200)},
      {"HTTP/1.1 200 \r\n\r\n", established(200)},
      {"HTTP/1.1  200 OK\r\n\r\n", established(200)},
      {"HTTP/1.0 200 Connection established\r\n\r\n", established(200)},
      {"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\n", established(200)},
      {"HTTP/1.2 200 OK\r\n\r\n", established(200)},
      {"HTTP/1.1 200 OK\n\n", established(200)},
      {"HTTP/1.1 200\n\n", established(200)},
      {"HTTP/1.1 200 OK\nVia: x\n\nrest", established(200, "rest")},
      {"HTTP/1.1 200 OK\r\nVia: x\n\r\nrest", established(200, "rest")},
      {"HTTP/1.1 200 OK\nVia: x\r\n\nrest", established(200, "rest")},
      {"\r\nHTTP/1.1 200 OK\r\n\r\n", established(200)},
      {"\n\n\r\nHTTP/1.1 200 OK\r\n\r\nx", established(200, "x")},
      {"HTTP/1.1 200 \xc3\xbc\xff\r\n\r\n", established(200)},
      {kOkLine + "\r\nSSH-2.0-OpenSSH_9.2\r\n", established(200, "SSH-2.0-OpenSSH_9.2\r\n")},
      {kOkLine + "\r\n220 mail ESMTP\r\n", established(200, "220 mail ESMTP\r\n")},
      {kOkLine + "\r\n\r\n\r\n", established(200, "\r\n\r\n")},
      {kOkLine + "\r\nHTTP/1.1 403 Forbidden\r\n\r\n",
       established(200, "HTTP/1.1 403 Forbidden\r\n\r\n")},
      {kOkLine + "\r\n" + "\x4a\x00\x00\x00\x0a"s + "8.0.33",
       established(200, "\x4a\x00\x00\x00\x0a"s + "8.0.33")},
      {kOkLine + "\r\n" + std::string(3, '\0'), established(200, std::string(3, '\0'))},
  };
}

std::vector<ReplyCase> length_cases() {
  std::vector<ReplyCase> cases = {
      // Lengths say nothing in a 2xx to CONNECT (RFC 9110 9.3.6), even nonsensical ones.
      {kOkLine + "Content-Length: 0\r\n\r\nx", established(200, "x")},
      {kOkLine + "Content-Length: 5\r\n\r\nhello", established(200, "hello")},
      {kOkLine + "Content-Length: 5\r\n\r\n", established(200)},
      {kOkLine + "Content-Length: 5\r\nContent-Length: 6\r\nA: b\r\n\r\nhi",
       established(200, "hi")},
      {kOkLine + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhi", established(200, "hi")},
      {kOkLine + "Content-Length: many\r\nA: b\r\n\r\nhi", established(200, "hi")},
      {kOkLine + "Content-Length: -1\r\n\r\nhi", established(200, "hi")},
      {kOkLine + "Content-Length: 99999999999999999999999\r\n\r\nhi", established(200, "hi")},
      {kOkLine + "Content-Length: 1, 1\r\n\r\nhi", established(200, "hi")},
      {kOkLine + "Content-Length:\r\n\r\nhi", established(200, "hi")},
      {kOkLine + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
       established(200, "5\r\nhello\r\n0\r\n\r\n")},
      {kOkLine + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\nhi",
       established(200, "hi")},
      {kOkLine + "Transfer-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhi", established(200, "hi")},
      {kOkLine + "Transfer-Encoding: nonsense\r\n\r\nhi", established(200, "hi")},
      {kOkLine + "Connection: close\r\n\r\nhi", established(200, "hi")},
      {kOkLine + "Connection: upgrade\r\nUpgrade: websocket\r\n\r\nhi", established(200, "hi")},
      {kOkLine + "Proxy-Authenticate: Basic realm=\"x\"\r\n\r\nhi", established(200, "hi")},
  };
  for (int status = 200; status < 300; ++status) {
    cases.push_back({"HTTP/1.1 " + std::to_string(status) + " Fine\r\nContent-Length: 3\r\n\r\nabc",
                     established(status, "abc")});
  }
  return cases;
}

std::vector<ReplyCase> field_and_interim_cases() {
  return {
      // obs-fold
      {kOkLine + "A: b\r\n c\r\n\td\r\n\r\nhi", established(200, "hi")},
      {kOkLine + "A:\r\n \r\n \r\n\r\nhi", established(200, "hi")},
      {kOkLine + "Content-Length:\r\n 5\r\n\r\nhi", established(200, "hi")},
      {kOkLine + "A: b\n c\n\nhi", established(200, "hi")},
      // Odd but proper fields.
      {kOkLine + "A:\r\nB: \r\nC:  \t \r\n\r\nhi", established(200, "hi")},
      {kOkLine + "A:b:c\r\n!#$%&'*+-.^_`|~09: x\r\n\r\nhi", established(200, "hi")},
      {kOkLine + "A: \xff\x80\xc3\xa4\r\n\r\nhi", established(200, "hi")},
      {kOkLine + "A: \"quoted\"; x=\"y\"\r\n\r\nhi", established(200, "hi")},
      // Interim replies.
      {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\nhi", established(200, "hi")},
      {"HTTP/1.1 102\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n" + kOkLine + "\r\nhi",
       established(200, "hi")},
      {"HTTP/1.0 100 Continue\r\nConnection: close\r\nContent-Length: 7\r\n\r\n" + kOkLine +
           "\r\nhi",
       established(200, "hi")},
      {"HTTP/1.1 100 C\r\nTransfer-Encoding: chunked\r\nContent-Length: x\r\n\r\n" + kOkLine +
           "\r\nhi",
       established(200, "hi")},
      {"HTTP/1.1 100 C\n\n\r\n" + kOkLine + "\r\nhi", established(200, "hi")},
      {repeat("HTTP/1.1 100 C\r\n\r\n", kMaxInterimReplies) + kOkLine + "\r\nhi",
       established(200, "hi")},
      {kOkLine + repeat("A: b\r\n", kMaxReplyHeaders) + "\r\nhi", established(200, "hi")},
  };
}

std::vector<ReplyCase> refusal_cases() {
  const std::string html = "<html><body>No.</body></html>";
  std::vector<ReplyCase> cases = {
      {"HTTP/1.1 403 Forbidden\r\nContent-Length: 9\r\n\r\nforbidden", refused(403, kForbidden)},
      {"HTTP/1.1 403 Forbidden\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
       refused(403, kForbidden)},
      {"HTTP/1.0 502 Bad Gateway\r\n\r\n" + html, refused(502, kBadGateway)},
      {"HTTP/1.1 502\n\n", refused(502, kBadGateway)},
      {"HTTP/1.1 400 Bad Request\r\nServer: nginx\r\nContent-Type: text/html\r\n"
       "Content-Length: 29\r\nConnection: close\r\n\r\n" +
           html,
       refused(400, kBadRequest)},
      {"HTTP/1.1 100 C\r\n\r\nHTTP/1.1 403 Forbidden\r\n\r\n", refused(403, kForbidden)},
      {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
       refused(101, "the proxy switched to another protocol without being asked")},
      {"HTTP/1.1 407 Auth\r\nProxy-Authenticate: Basic realm=\"x\"\r\n\r\n",
       refused(407, kNeedsCredentials)},
  };
  for (int status = 300; status < 1000; ++status) {
    if (status == 407) continue;
    const std::string line =
        "HTTP/1.1 " + std::to_string(status) + " No\r\nContent-Length: 0\r\n\r\n";
    const auto whole = feed_pieces(line, {}, false, false);
    EXPECT_FALSE(whole.reason.empty()) << status;
    cases.push_back({line, refused(status, whole.reason)});
  }
  return cases;
}

std::vector<ReplyCase> not_http_cases() {
  return {
      {"\x15\x03\x01\x00\x02\x02\x46"s, malformed(kTls)},
      {"\x15\x03\x03\x00\x02\x02\x0a"s, malformed(kTls)},
      {"\x16\x03\x01\x02\x00\x01"s, malformed(kTls)},
      {"SSH-2.0-OpenSSH_9.2p1 Debian\r\n",
       malformed("the server at the proxy's address speaks SSH, it is no HTTP proxy")},
      {"\x05\x00"s, malformed(kSocks)},
      {"\x05\xff"s, malformed(kSocks)},
      {"\x00\x5b\x00\x00\x00\x00\x00\x00"s, malformed(kSocks)},
      {"\x00\x5a\x00\x00\x00\x00\x00\x00"s, malformed(kSocks)},
      {"\x00\x00\x12\x04\x00\x00\x00\x00\x00"s, malformed(kHttp2)},
      {"\x00\x00\x08\x07\x00\x00\x00\x00\x00"s, malformed(kHttp2)},
      {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", malformed(kHttp2)},
      {"220 ftp.example.net FTP server ready\r\n", malformed(kMail)},
      {"220-mx.example.net ESMTP\r\n", malformed(kMail)},
      {"421 Too many connections\r\n", malformed(kMail)},
      {"500 5.5.1 Command unrecognized\r\n", malformed(kMail)},
      {"554 5.5.1 Error\r\n", malformed(kMail)},
      {"+OK POP3 ready\r\n",
       malformed("the server at the proxy's address speaks POP3, it is no HTTP proxy")},
      {"* OK IMAP4rev1 ready\r\n",
       malformed("the server at the proxy's address speaks IMAP, it is no HTTP proxy")},
      {"RTSP/1.0 400 Bad Request\r\n\r\n",
       malformed("the server at the proxy's address speaks RTSP, it is no HTTP proxy")},
      {"ICY 200 OK\r\n\r\n",
       malformed("the server at the proxy's address is a Shoutcast server, it is no HTTP proxy")},
      {"<html><head>", malformed(kHtml)},
      {"<HTML>", malformed(kHtml)},
      {"<!DOCTYPE html>", malformed(kHtml)},
      {"\r\n<!doctype html>", malformed(kHtml)},
      {"HTTP/1.1 100 C\r\n\r\n\x15\x03\x03\x00\x02"s, malformed(kTls)},
      {"http/1.1 200 OK\r\n\r\n", malformed(kUnknown)},
      {"HTTPS/1.1 200 OK\r\n\r\n", malformed(kUnknown)},
      {"HTTP 200 OK\r\n\r\n", malformed(kUnknown)},
      {"CONNECT 192.0.2.7:443 HTTP/1.1\r\n", malformed(kUnknown)},
      {" HTTP/1.1 200 OK\r\n\r\n", malformed(kUnknown)},
      {"\xef\xbb\xbfHTTP/1.1 200 OK\r\n\r\n", malformed(kUnknown)},
      {"\x4a\x00\x00\x00\x0a"s + "8.0.33", malformed(kUnknown)},
      {std::string(64, '\0'), malformed(kUnknown)},
      {std::string(64, '\xff'), malformed(kUnknown)},
      {"200 OK\r\n", malformed(kUnknown)},
      {"SSL", malformed(kUnknown)},
      {"SSH", malformed(kUnknown), true},
      {"\x16"s, malformed(kUnknown), true},
      {"SSH", need_more()},
  };
}

std::vector<ReplyCase> status_line_cases() {
  return {
      {"HTTP/2 200\r\n\r\n", malformed(kVersion)},
      {"HTTP/2.0 200 OK\r\n\r\n", malformed(kVersion)},
      {"HTTP/0.9 200 OK\r\n\r\n", malformed(kVersion)},
      {"HTTP/1,1 200 OK\r\n\r\n", malformed(kVersion)},
      {"HTTP/1. 200 OK\r\n\r\n", malformed(kVersion)},
      {"HTTP/11 200 OK\r\n\r\n", malformed(kVersion)},
      {"HTTP/1.x 200 OK\r\n\r\n", malformed(kVersion)},
      {"HTTP/1.11 200 OK\r\n\r\n", malformed(kNoCode)},
      {"HTTP/1.1\r\n\r\n", malformed(kNoCode)},
      {"HTTP/1.1 \r\n\r\n", malformed(kNoCode)},
      {"HTTP/1.1 OK\r\n\r\n", malformed(kNoCode)},
      {"HTTP/1.1 20 OK\r\n\r\n", malformed(kNoCode)},
      {"HTTP/1.1 2000 OK\r\n\r\n", malformed(kNoCode)},
      {"HTTP/1.1 0200 OK\r\n\r\n", malformed(kNoCode)},
      {"HTTP/1.1 099 OK\r\n\r\n", malformed(kNoCode)},
      {"HTTP/1.1 000 OK\r\n\r\n", malformed(kNoCode)},
      {"HTTP/1.1 2x0 OK\r\n\r\n", malformed(kNoCode)},
      {"HTTP/1.1 -200 OK\r\n\r\n", malformed(kNoCode)},
      {"HTTP/1.1 +20 OK\r\n\r\n", malformed(kNoCode)},
      {"HTTP/1.1 200OK\r\n\r\n", malformed(kNoCode)},
      {"HTTP/1.1\t200 OK\r\n\r\n", malformed(kNoCode)},
      {"HTTP/1.1 200 O\0K\r\n\r\n"s, malformed(kControl, 200)},
      {"HTTP/1.1 200 O\x01K\r\n\r\n", malformed(kControl, 200)},
      {"HTTP/1.1 200 O\x7fK\r\n\r\n", malformed(kControl, 200)},
  };
}

std::vector<ReplyCase> header_cases() {
  return {
      {"HTTP/1.1 200 OK\r\nA: \0\r\n\r\n"s, malformed(kControl, 200)},
      {"HTTP/1.1 200 OK\r\nA: b\x1b[31m\r\n\r\n", malformed(kControl, 200)},
      {"HTTP/1.1 200 OK\rX\n\r\n", malformed(kBareCr, 200)},
      {"HTTP/1.1 200 OK\r\r\n\r\nX", malformed(kBareCr, 200)},
      {"HTTP/1.1 200\r \r\n\r\nX", malformed(kBareCr, 200)},
      {"HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n", malformed(kBareCr, 200)},
      {"HTTP/1.1 200 OK\r\nA: b\r\n\rX\r\n\r\n", malformed(kBareCr, 200)},
      {"HTTP/1.1 200 OK\r\nA:\r\r\n\r\n", malformed(kBareCr, 200)},
      {"HTTP/1.1 200 OK\r\n A: b\r\n\r\n", malformed(kBadFold, 200)},
      {"HTTP/1.1 200 OK\r\n\tA: b\r\n\r\n", malformed(kBadFold, 200)},
      {"HTTP/1.1 200 OK\r\nA : b\r\n\r\n", malformed(kBadName, 200)},
      {"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", malformed(kBadName, 200)},
      {"HTTP/1.1 200 OK\r\nnocolon\r\n\r\n", malformed(kBadName, 200)},
      {"HTTP/1.1 200 OK\r\n: b\r\n\r\n", malformed(kBadName, 200)},
      {"HTTP/1.1 200 OK\r\nA\xc3\xa4: b\r\n\r\n", malformed(kBadName, 200)},
      {"HTTP/1.1 200 OK\r\nA\0: b\r\n\r\n"s, malformed(kBadName, 200)},
      {"HTTP/1.1 200 OK\r\n<html>\r\n\r\n", malformed(kBadName, 200)},
      {"HTTP/1.1 407 A\r\nContent-Length: 1\r\nContent-Length: 2\r\n"
       "Proxy-Authenticate: Basic realm=x\r\n\r\n",
       malformed("the proxy's 407 answer says contradicting things about its length", 407)},
      {repeat("HTTP/1.1 100 C\r\n\r\n", kMaxInterimReplies + 1), malformed(kInterim, 100)},
      {"HTTP/1.1 200 OK\r\n" + repeat("A: b\r\n", kMaxReplyHeaders + 1) + "\r\n",
       malformed(kTooManyFields, 200)},
  };
}

std::vector<ReplyCase> cut_off_cases() {
  return {
      // Streams that end too early.
      {"", malformed(kSilent), true},
      {"\r\n", malformed(kCutOff), true},
      {"H", malformed(kCutOff), true},
      {"HTTP/1.1 2", malformed(kCutOff), true},
      {"HTTP/1.1 200", malformed(kCutOff, 200), true},
      {"HTTP/1.1 200 OK\r\n", malformed(kCutOff, 200), true},
      {"HTTP/1.1 200 OK\r\nA: b\r\n\r", malformed(kCutOff, 200), true},
      {"HTTP/1.1 100 C\r\n\r\n", malformed(kCutOff), true},
      {"HTTP/1.1 403 Forbidden\r\nA: ", malformed(kCutOff, 403), true},
      {"HTTP/1.1 200 OK\r\nA: b\r\n", need_more(200)},
      {"HTTP/1.1 100 C\r\n\r\n", need_more()},
      {"HTTP/1.1 20", need_more()},
      {"", need_more()},
  };
}

void check(const ReplyCase& c) {
  SCOPED_TRACE(::testing::PrintToString(c.stream.substr(0, 200)));
  ASSERT_EQ(c.expected, feed_pieces(c.stream, {}, c.close, c.credentials)) << "whole";
  std::vector<std::size_t> every;
  for (std::size_t i = 1; i < c.stream.size(); ++i) {
    ASSERT_EQ(c.expected, feed_pieces(c.stream, {i}, c.close, c.credentials)) << "cut at " << i;
    every.push_back(i);
  }
  ASSERT_EQ(c.expected, feed_pieces(c.stream, every, c.close, c.credentials)) << "byte by byte";
}

TEST(HttpConnectReply, SuccessLeavesWhatFollowsTheHeadAlone) {
  for (const ReplyCase& c : success_cases()) check(c);
  for (const ReplyCase& c : length_cases()) check(c);
  for (const ReplyCase& c : field_and_interim_cases()) check(c);
}

TEST(HttpConnectReply, FinalStatusesAreRefusalsWithAReason) {
  for (const ReplyCase& c : refusal_cases()) check(c);
}

TEST(HttpConnectReply, WhatIsNotHttpIsNamed) {
  for (const ReplyCase& c : not_http_cases()) check(c);
}

TEST(HttpConnectReply, WhatIsBrokenHttpIsNamed) {
  for (const ReplyCase& c : status_line_cases()) check(c);
  for (const ReplyCase& c : header_cases()) check(c);
  for (const ReplyCase& c : cut_off_cases()) check(c);
}

TEST(HttpConnectReply, HeadOfExactlyTheLimitIsTakenAndOneByteMoreIsNot) {
  const std::string begin = "HTTP/1.1 200 OK\r\nA: ";
  const std::string end = "\r\n\r\n";
  const std::string fits =
      begin + std::string(kMaxReplyBytes - begin.size() - end.size(), 'x') + end;
  EXPECT_EQ(established(200, "hi"), feed_pieces(fits + "hi", {}, false, false));
  EXPECT_EQ(established(200, "hi"), feed_pieces(fits + "hi", {kMaxReplyBytes - 1}, false, false));
  const std::string longer = begin + "x" + fits.substr(begin.size());
  EXPECT_EQ(malformed(kTooLong, 200), feed_pieces(longer, {}, false, false));
  EXPECT_EQ(malformed(kTooLong, 200), feed_pieces(longer, {kMaxReplyBytes}, false, false));
  EXPECT_EQ(malformed(kTooLong, 200), feed_pieces(longer, {1000, 50000}, false, false));
  // Empty lines and interim replies count too.
  EXPECT_EQ(malformed(kTooLong), feed_pieces(std::string(kMaxReplyBytes, '\n'), {}, false, false));
  const std::string interim = "HTTP/1.1 100 C\r\nA: " + std::string(40000, 'x') + "\r\n\r\n";
  EXPECT_EQ(malformed(kTooLong, 100), feed_pieces(interim + interim, {}, false, false));
}

TEST(HttpConnectReply, TrickleOfAMegabyteEndsAtTheLimit) {
  const auto authenticator = make_authenticator(std::nullopt, fixed_hex);
  HttpConnect connect(kTarget, *authenticator);
  static_cast<void>(connect.request());
  const std::string begin = "HTTP/1.1 200 OK\r\nA: ";
  ASSERT_EQ(Outcome::NeedMore, connect.feed(bytes_of(begin)).outcome);
  std::size_t fed = begin.size();
  Reply reply;
  while (fed < 16 * kMaxReplyBytes) {
    ++fed;
    reply = connect.feed(bytes_of("x"));
    if (reply.outcome != Outcome::NeedMore) break;
  }
  EXPECT_EQ(Outcome::Malformed, reply.outcome);
  EXPECT_EQ(kMaxReplyBytes, fed);
}

TEST(HttpConnectReply, StaysFinishedWhateverComesThen) {
  const auto authenticator = make_authenticator(std::nullopt, fixed_hex);
  HttpConnect connect(kTarget, *authenticator);
  static_cast<void>(connect.request());
  ASSERT_EQ(Outcome::Refused, connect.feed(bytes_of("HTTP/1.1 403 No\r\n\r\n")).outcome);
  const Reply again = connect.feed(bytes_of("HTTP/1.1 200 OK\r\n\r\n"));
  EXPECT_EQ(Outcome::Refused, again.outcome);
  EXPECT_EQ(403, again.status);
  EXPECT_EQ(0u, again.consumed);
  EXPECT_EQ(Outcome::Refused, connect.end_of_stream().outcome);
}

// --- requests ----------------------------------------------------------------------------------

TEST(HttpConnectRequest, NamesTheTargetTwice) {
  const auto authenticator = make_authenticator(std::nullopt, fixed_hex);
  HttpConnect v4(kTarget, *authenticator);
  EXPECT_EQ("CONNECT 192.0.2.7:443 HTTP/1.1\r\nHost: 192.0.2.7:443\r\n\r\n", v4.request());
  HttpConnect v6({"2001:db8::1", 22}, *authenticator);
  EXPECT_EQ("CONNECT [2001:db8::1]:22 HTTP/1.1\r\nHost: [2001:db8::1]:22\r\n\r\n", v6.request());
  HttpConnect name({"www.example.org", 80}, *authenticator);
  EXPECT_EQ("CONNECT www.example.org:80 HTTP/1.1\r\nHost: www.example.org:80\r\n\r\n",
            name.request());
}

TEST(HttpConnectRequest, TargetNeverEndsTheLine) {
  EXPECT_EQ("[a??Evil:?b]:80", authority({"a\r\nEvil: b", 80}));
}

TEST(HttpConnectRequest, SendsBasicAtOnce) {
  const auto authenticator =
      make_authenticator(Credentials{"Aladdin", Secret("open sesame")}, fixed_hex);
  HttpConnect connect(kTarget, *authenticator);
  EXPECT_EQ(
      "CONNECT 192.0.2.7:443 HTTP/1.1\r\nHost: 192.0.2.7:443\r\n"
      "Proxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n",
      connect.request());
}

TEST(HttpConnectRequest, ToTargetKeepsTheAddress) {
  EXPECT_EQ("[2001:db8::1]:443", authority(to_target(*parse_endpoint("[2001:db8::1]:443"))));
  EXPECT_EQ("192.0.2.1:1", authority(to_target(*parse_endpoint("192.0.2.1:1"))));
}

// --- 407 ---------------------------------------------------------------------------------------

const std::string kDigestField =
    "Proxy-Authenticate: Digest realm=\"r\", nonce=\"n1\", qop=\"auth\", algorithm=MD5\r\n";

// What the 407 in `stream` comes to when Basic was sent and Digest is asked for.
Answer challenged(const std::string& stream, const std::vector<std::size_t>& cuts = {},
                  bool close = false) {
  return feed_pieces(stream, cuts, close, true);
}

Answer retry(bool reconnect) { return {Outcome::Retry, 407, reconnect, {}, {}}; }

struct ChallengeCase {
  std::string stream;
  Answer expected;
  bool close = false;
};

TEST(HttpConnectChallenge, KeepsTheConnectionOnlyWhenTheBodyHasAnEnd) {
  const std::string head = "HTTP/1.1 407 Auth\r\n" + kDigestField;
  const std::string head10 = "HTTP/1.0 407 Auth\r\n" + kDigestField;
  const std::vector<ChallengeCase> cases = {
      {head + "Content-Length: 0\r\n\r\n", retry(false)},
      {head + "Content-Length: 5\r\n\r\nhello", retry(false)},
      {head + "Content-Length: 5\r\n\r\nhell", need_more(407)},
      {head + "Content-Length: 5\r\n\r\nhell", retry(true), true},
      {head + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", retry(false)},
      {head + "Transfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nT: v\r\n\r\n",
       retry(false)},
      {head + "Transfer-Encoding: chunked\r\n\r\n0\r\nProxy-Authenticate: Basic\r\n\r\n",
       retry(false)},
      {head + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", need_more(407)},
      {head + "Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n", retry(true)},
      {head + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", retry(true)},
      {head + "Transfer-Encoding: gzip\r\n\r\n", retry(true)},
      {head + "\r\n", retry(true)},
      {head + "Connection: close\r\nContent-Length: 0\r\n\r\n", retry(true)},
      {head + "connection: foo, Close\r\nContent-Length: 0\r\n\r\n", retry(true)},
      {head + "Proxy-Connection: close\r\nContent-Length: 0\r\n\r\n", retry(true)},
      {head + "Proxy-Connection: keep-alive\r\nContent-Length: 0\r\n\r\n", retry(false)},
      {head + "Content-Length: " + std::to_string(kMaxRefusalBody) + "\r\n\r\n", need_more(407)},
      {head + "Content-Length: " + std::to_string(kMaxRefusalBody + 1) + "\r\n\r\n", retry(true)},
      {head10 + "Content-Length: 0\r\n\r\n", retry(true)},
      {head10 + "Connection: keep-alive\r\nContent-Length: 0\r\n\r\n", retry(false)},
      {head10 + "Proxy-Connection: Keep-Alive\r\nContent-Length: 2\r\n\r\nno", retry(false)},
      {"HTTP/1.1 100 C\r\n\r\n" + head + "Content-Length: 0\r\n\r\n", retry(false)},
  };
  for (const ChallengeCase& c : cases) {
    check({c.stream, c.expected, c.close, true});
  }
}

TEST(HttpConnectChallenge, BytesBehindTheBodyMeanANewConnection) {
  const std::string head = "HTTP/1.1 407 Auth\r\n" + kDigestField + "Content-Length: 2\r\n\r\n";
  EXPECT_EQ(retry(true), challenged(head + "noHTTP/1.1 200 OK\r\n\r\n"));
  EXPECT_EQ(retry(true), challenged(head + "noX", {10}));
  const auto authenticator = make_authenticator(alice(), fixed_hex);
  HttpConnect connect(kTarget, *authenticator);
  static_cast<void>(connect.request());
  ASSERT_FALSE(connect.feed(bytes_of(head + "no")).reconnect);
  EXPECT_TRUE(connect.feed(bytes_of("X")).reconnect);
}

TEST(HttpConnectChallenge, EndlessChunksMeanANewConnection) {
  const auto authenticator = make_authenticator(alice(), fixed_hex);
  HttpConnect connect(kTarget, *authenticator);
  static_cast<void>(connect.request());
  ASSERT_EQ(Outcome::NeedMore, connect
                                   .feed(bytes_of("HTTP/1.1 407 Auth\r\n" + kDigestField +
                                                  "Transfer-Encoding: chunked\r\n\r\n"))
                                   .outcome);
  std::size_t fed = 0;
  Reply reply;
  while (fed < 2 * kMaxRefusalBody && reply.outcome == Outcome::NeedMore) {
    const std::string chunk = "4\r\nabcd\r\n";
    reply = connect.feed(bytes_of(chunk));
    fed += chunk.size();
  }
  EXPECT_EQ(Outcome::Retry, reply.outcome);
  EXPECT_TRUE(reply.reconnect);
  EXPECT_LE(fed, kMaxRefusalBody + 16);
}

// A conversation: what the proxy says to each request.
class Conversation {
 public:
  explicit Conversation(std::optional<Credentials> credentials = alice())
      : authenticator_(make_authenticator(std::move(credentials), fixed_hex)) {
    restart();
  }
  // A new tunnel through the same proxy.
  void restart() { connect_.emplace(kTarget, *authenticator_); }
  std::string request() { return connect_->request(); }
  Reply answer(const std::string& text) { return connect_->feed(bytes_of(text)); }
  Reply close() { return connect_->end_of_stream(); }

 private:
  std::unique_ptr<Authenticator> authenticator_;
  std::optional<HttpConnect> connect_;
};

std::string challenge_head(const std::string& challenge, bool close = false) {
  return "HTTP/1.1 407 Auth\r\nProxy-Authenticate: " + challenge + "\r\nContent-Length: 0\r\n" +
         (close ? "Connection: close\r\n" : "") + "\r\n";
}

const std::string kEstablishedReply = "HTTP/1.1 200 OK\r\n\r\n";

TEST(HttpConnectChallenge, DigestOnTheSameConnectionAndTheNextTunnelNeedsNoChallenge) {
  Conversation c;
  EXPECT_NE(std::string::npos, c.request().find("Proxy-Authorization: Basic "));
  Reply reply = c.answer(challenge_head("Digest realm=\"r\", nonce=\"n1\", qop=\"auth\""));
  ASSERT_EQ(Outcome::Retry, reply.outcome);
  EXPECT_FALSE(reply.reconnect);
  const std::string second = c.request();
  EXPECT_NE(std::string::npos, second.find("Proxy-Authorization: Digest username=\"alice\""));
  EXPECT_NE(std::string::npos, second.find("nonce=\"n1\""));
  EXPECT_NE(std::string::npos, second.find("uri=\"192.0.2.7:443\""));
  EXPECT_NE(std::string::npos, second.find("nc=00000001"));
  EXPECT_EQ(Outcome::Established, c.answer(kEstablishedReply).outcome);
  c.restart();
  const std::string third = c.request();
  EXPECT_NE(std::string::npos, third.find("nonce=\"n1\""));
  EXPECT_NE(std::string::npos, third.find("nc=00000002"));
}

TEST(HttpConnectChallenge, DigestWhenTheProxyClosesWithThe407) {
  Conversation c;
  static_cast<void>(c.request());
  const Reply reply =
      c.answer(challenge_head("Digest realm=\"r\", nonce=\"n1\", qop=\"auth\"", true));
  ASSERT_EQ(Outcome::Retry, reply.outcome);
  EXPECT_TRUE(reply.reconnect);
  EXPECT_EQ(Outcome::Retry, c.close().outcome);
  EXPECT_NE(std::string::npos, c.request().find("nonce=\"n1\""));
  EXPECT_EQ(Outcome::Established, c.answer(kEstablishedReply).outcome);
}

TEST(HttpConnectChallenge, ConnectionThatIsClosedInSpiteOfThePromiseIsReplacedOnce) {
  Conversation c;
  static_cast<void>(c.request());
  ASSERT_FALSE(
      c.answer(challenge_head("Digest realm=\"r\", nonce=\"n1\", qop=\"auth\"")).reconnect);
  static_cast<void>(c.request());
  const Reply reply = c.close();
  ASSERT_EQ(Outcome::Retry, reply.outcome);
  EXPECT_TRUE(reply.reconnect);
  const std::string again = c.request();
  EXPECT_NE(std::string::npos, again.find("nonce=\"n1\""));
  EXPECT_NE(std::string::npos, again.find("nc=00000002"));
  EXPECT_EQ(Outcome::Malformed, c.close().outcome);
}

TEST(HttpConnectChallenge, RefusedPasswordIsRefusedAtOnce) {
  Conversation basic;
  static_cast<void>(basic.request());
  Reply reply = basic.answer(challenge_head("Basic realm=\"r\""));
  EXPECT_EQ(Outcome::Refused, reply.outcome);
  EXPECT_EQ(407, reply.status);
  EXPECT_EQ("the proxy rejects the user name or the password", reply.reason);

  Conversation digest;
  static_cast<void>(digest.request());
  ASSERT_EQ(
      Outcome::Retry,
      digest.answer(challenge_head("Digest realm=\"r\", nonce=\"n1\", qop=\"auth\"")).outcome);
  static_cast<void>(digest.request());
  reply = digest.answer(challenge_head("Digest realm=\"r\", nonce=\"n2\", qop=\"auth\""));
  EXPECT_EQ(Outcome::Refused, reply.outcome);
  EXPECT_EQ("the proxy rejects the user name or the password", reply.reason);
}

TEST(HttpConnectChallenge, StaleNonceIsReplacedButNotForEver) {
  Conversation c;
  static_cast<void>(c.request());
  unsigned answered = 0;
  Reply reply;
  reply.outcome = Outcome::Retry;
  for (int i = 0; i < 20 && reply.outcome == Outcome::Retry; ++i) {
    const std::string nonce = "nonce=\"n" + std::to_string(i) + "\"";
    reply = c.answer(challenge_head("Digest realm=\"r\", qop=\"auth\", stale=true, " + nonce));
    if (reply.outcome != Outcome::Retry) continue;
    if (c.request().find(nonce) != std::string::npos) ++answered;
  }
  EXPECT_EQ(kMaxAnswers, answered);
  EXPECT_EQ(Outcome::Refused, reply.outcome);
  EXPECT_EQ("the proxy answers every authentication with a new challenge", reply.reason);
}

TEST(HttpConnectChallenge, SeveralFieldsAndFoldsAreOneList) {
  Conversation c;
  static_cast<void>(c.request());
  const Reply reply = c.answer(
      "HTTP/1.1 407 Auth\r\nPROXY-AUTHENTICATE: NTLM\r\nProxy-Authenticate: Negotiate, Basic "
      "realm=\"a, b\"\r\nX: y\r\nproxy-authenticate: Digest realm=\"r\",\r\n nonce=\"n1\",\r\n\t"
      "qop=\"auth,auth-int\", algorithm=SHA-256\r\nContent-Length: 0\r\n\r\n");
  ASSERT_EQ(Outcome::Retry, reply.outcome);
  const std::string request = c.request();
  EXPECT_NE(std::string::npos, request.find("algorithm=SHA-256"));
  EXPECT_NE(std::string::npos, request.find("nonce=\"n1\""));
}

TEST(HttpConnectChallenge, NextNonceOfTheSuccessIsUsedNext) {
  Conversation c;
  static_cast<void>(c.request());
  ASSERT_EQ(Outcome::Retry,
            c.answer(challenge_head("Digest realm=\"r\", nonce=\"n1\", qop=\"auth\"")).outcome);
  static_cast<void>(c.request());
  ASSERT_EQ(Outcome::Established,
            c.answer("HTTP/1.1 200 OK\r\nProxy-Authentication-Info: qop=auth, "
                     "nextnonce=\"n2\"\r\n\r\n")
                .outcome);
  c.restart();
  const std::string request = c.request();
  EXPECT_NE(std::string::npos, request.find("nonce=\"n2\""));
  EXPECT_NE(std::string::npos, request.find("nc=00000001"));
}

TEST(HttpConnectChallenge, RequestMayBeSentAgainOnAnotherAddress) {
  Conversation c;
  const std::string first = c.request();
  EXPECT_EQ(first, c.request());
  EXPECT_EQ(Outcome::Established, c.answer(kEstablishedReply).outcome);
}

}  // namespace
}  // namespace proxyvpn::connect
