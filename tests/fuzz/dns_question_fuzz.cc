// Any bytes as a DNS question: what is answered to it is a DNS message with the same question.
#include <algorithm>
#include <cstdlib>
#include <vector>

#include "dns/question.h"
#include "names/stand_in_answerer.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace proxyvpn;
  const std::vector<std::uint8_t> message(data, data + size);  // exact: overruns are seen
  static names::StandIns stand_ins(IpAddress::v4(0xc6120001), 16);
  static names::StandInAnswerer answerer(stand_ins);
  const auto question = dns::parse_question(message);
  bool answered = false;
  answerer.ask(message, names::Transport::Datagram, [&](std::span<const std::uint8_t> answer) {
    answered = true;
    if (!question || answer.size() < question->end) std::abort();
    if (dns::message_id(answer) != question->id || (answer[2] & 0x80) == 0) std::abort();
    if (!std::equal(message.begin() + dns::kHeaderBytes,
                    message.begin() + static_cast<std::ptrdiff_t>(question->end),
                    answer.begin() + dns::kHeaderBytes)) {
      std::abort();
    }
    if (dns::fit_udp(answer, *question).size() > answer.size()) std::abort();
  });
  if (answered != question.has_value()) std::abort();
  if (stand_ins.size() > 16) std::abort();
  return 0;
}
