#include "dns/question.h"

#include <arpa/nameser.h>
#include <resolv.h>

#include <algorithm>

namespace proxyvpn::dns {
namespace {

constexpr std::uint8_t kResponse = 0x80;            // QR, of the third byte
constexpr std::uint8_t kTruncated = 0x02;           // TC, of the third byte
constexpr std::uint8_t kCopied = 0x79;              // opcode and RD are the client's
constexpr std::uint8_t kRecursionAvailable = 0x80;  // RA, of the fourth byte
constexpr std::uint16_t kTypeOpt = 41;              // RFC 6891
constexpr std::uint16_t kOurUdpBytes = 1232;        // what we take, in our own OPT record

void append16(std::vector<std::uint8_t>& out, std::size_t value) {
  out.push_back(static_cast<std::uint8_t>(value >> 8));
  out.push_back(static_cast<std::uint8_t>(value));
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return text;
}

// Looks for the OPT record. False: a record does not parse.
bool read_edns(ns_msg& handle, Question& question) {
  for (int i = 0; i < ns_msg_count(handle, ns_s_ar); ++i) {
    ns_rr rr{};
    if (ns_parserr(&handle, ns_s_ar, i, &rr) != 0) return false;
    if (rr.type != kTypeOpt) continue;
    question.edns = true;
    question.largest_udp = std::max<std::size_t>(ns_rr_class(rr), kPlainUdpBytes);
  }
  return true;
}

// Header and question of the message, as an answer without records.
std::vector<std::uint8_t> start_answer(std::span<const std::uint8_t> message,
                                       const Question& question, Rcode code) {
  std::vector<std::uint8_t> out(message.begin(),
                                message.begin() + static_cast<std::ptrdiff_t>(question.end));
  out[2] = static_cast<std::uint8_t>((out[2] & kCopied) | kResponse);
  out[3] = static_cast<std::uint8_t>(kRecursionAvailable | static_cast<std::uint8_t>(code));
  std::fill(out.begin() + 4, out.begin() + kHeaderBytes, std::uint8_t{0});
  out[5] = 1;  // one question
  return out;
}

// RFC 6891 6.1.1: who asks with an OPT record gets one.
void finish_answer(std::vector<std::uint8_t>& out, const Question& question) {
  if (!question.edns) return;
  out.push_back(0);  // the root's name
  append16(out, kTypeOpt);
  append16(out, kOurUdpBytes);
  out.insert(out.end(), 6, std::uint8_t{0});  // extended code, version, flags, no data
  out[11] = 1;
}

}  // namespace

std::optional<Question> parse_question(std::span<const std::uint8_t> message) {
  if (message.size() < kHeaderBytes || message.size() > NS_MAXMSG) return std::nullopt;
  ns_msg handle{};
  if (ns_initparse(message.data(), static_cast<int>(message.size()), &handle) != 0) return {};
  if (ns_msg_getflag(handle, ns_f_qr) != 0 || ns_msg_getflag(handle, ns_f_opcode) != ns_o_query) {
    return std::nullopt;
  }
  if (ns_msg_count(handle, ns_s_qd) != 1) return std::nullopt;
  ns_rr rr{};
  if (ns_parserr(&handle, ns_s_qd, 0, &rr) != 0) return std::nullopt;
  Question question;
  question.id = ns_msg_id(handle);
  question.name = lower(ns_rr_name(rr));
  if (question.name == ".") question.name.clear();
  question.type = rr.type;
  question.klass = static_cast<std::uint16_t>(ns_rr_class(rr));
  const std::uint8_t* at = message.data() + kHeaderBytes;
  if (ns_name_skip(&at, message.data() + message.size()) != 0) return std::nullopt;
  question.end = static_cast<std::size_t>(at - message.data()) + NS_QFIXEDSZ;
  if (question.end > message.size() || !read_edns(handle, question)) return std::nullopt;
  return question;
}

bool is_host_name(const std::string& name) noexcept {
  bool label = false;
  for (const char c : name) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    const bool plain = letter || (c >= '0' && c <= '9') || c == '-' || c == '_';
    if (!plain && (c != '.' || !label)) return false;
    label = plain;
  }
  return label;
}

std::vector<std::uint8_t> answer_address(std::span<const std::uint8_t> message,
                                         const Question& question, const IpAddress& address,
                                         std::uint32_t ttl) {
  auto out = start_answer(message, question, Rcode::NoError);
  append16(out, 0xc000 | kHeaderBytes);  // the question's name
  append16(out, question.type);
  append16(out, question.klass);
  append16(out, ttl >> 16);
  append16(out, ttl & 0xffff);
  const auto bytes = address.bytes();
  append16(out, bytes.size());
  out.insert(out.end(), bytes.begin(), bytes.end());
  out[7] = 1;
  finish_answer(out, question);
  return out;
}

std::vector<std::uint8_t> answer_nothing(std::span<const std::uint8_t> message,
                                         const Question& question, Rcode code) {
  auto out = start_answer(message, question, code);
  finish_answer(out, question);
  return out;
}

std::vector<std::uint8_t> fit_udp(std::span<const std::uint8_t> answer, const Question& question) {
  if (answer.size() <= question.largest_udp || answer.size() < question.end) {
    return {answer.begin(), answer.end()};
  }
  const auto code = static_cast<Rcode>(answer[3] & 15U);
  auto out = start_answer(answer, question, code);
  out[2] |= kTruncated;
  finish_answer(out, question);
  return out;
}

std::uint16_t message_id(std::span<const std::uint8_t> message) noexcept {
  return message.size() < 2 ? std::uint16_t{0}
                            : static_cast<std::uint16_t>((message[0] << 8) | message[1]);
}

void set_message_id(std::span<std::uint8_t> message, std::uint16_t id) noexcept {
  if (message.size() < 2) return;
  message[0] = static_cast<std::uint8_t>(id >> 8);
  message[1] = static_cast<std::uint8_t>(id);
}

}  // namespace proxyvpn::dns
