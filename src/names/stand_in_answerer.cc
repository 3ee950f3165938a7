#include "names/stand_in_answerer.h"

#include "dns/message.h"
#include "dns/question.h"

namespace proxyvpn::names {
namespace {

constexpr std::uint16_t kSvcb = 64;   // RFC 9460
constexpr std::uint16_t kHttps = 65;  // likewise
constexpr std::uint16_t kInternet = 1;

bool is_under(const std::string& name, std::string_view top) {
  if (name == top) return true;
  return name.size() > top.size() && name.ends_with(top) &&
         name[name.size() - top.size() - 1] == '.';
}

constexpr std::uint16_t number(dns::RecordType type) { return static_cast<std::uint16_t>(type); }

IpAddress loopback(std::uint16_t type) {
  constexpr std::uint8_t kV6[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
  return type == number(dns::RecordType::A) ? IpAddress::v4(0x7f000001) : IpAddress::v6(kV6);
}

}  // namespace

void StandInAnswerer::ask(std::span<const std::uint8_t> message, Transport /*any*/, Done done) {
  using dns::Rcode;
  const auto question = dns::parse_question(message);
  if (!question) return;
  const bool a = question->type == number(dns::RecordType::A);
  const bool aaaa = question->type == number(dns::RecordType::Aaaa);
  const bool others = question->type == kSvcb || question->type == kHttps;
  if (question->klass != kInternet || (!a && !aaaa && !others)) {
    return done(dns::answer_nothing(message, *question, Rcode::NotImp));
  }
  if (!dns::is_host_name(question->name) || is_under(question->name, "invalid")) {
    return done(dns::answer_nothing(message, *question, Rcode::NxDomain));
  }
  if (is_under(question->name, "localhost") && !others) {
    return done(dns::answer_address(message, *question, loopback(question->type), kTtl));
  }
  if (!a) return done(dns::answer_nothing(message, *question, Rcode::NoError));
  const IpAddress address = stand_ins_.address_of(question->name);
  done(dns::answer_address(message, *question, address, kTtl));
}

}  // namespace proxyvpn::names
