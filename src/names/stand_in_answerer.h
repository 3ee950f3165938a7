#pragma once
// Answers with stand-ins. Nothing is asked of anybody.
#include "names/answerer.h"
#include "names/stand_ins.h"

namespace proxyvpn::names {

class StandInAnswerer final : public Answerer {
 public:
  // Seconds that a client may keep an answer. Short, as an address stands for another name when
  // very many are asked for.
  static constexpr std::uint32_t kTtl = 10;

  // Not owned; outlives this.
  explicit StandInAnswerer(StandIns& stand_ins) : stand_ins_(stand_ins) {}
  // A: the stand-in. AAAA, HTTPS, SVCB: the name is there and has none, so that clients take the A.
  // Any other type: NOTIMP. "localhost" is this machine, "invalid" is not there (RFC 6761), and
  // what cannot be a host name is not there either.
  void ask(std::span<const std::uint8_t> message, Transport transport, Done done) override;

 private:
  StandIns& stand_ins_;
};

}  // namespace proxyvpn::names
