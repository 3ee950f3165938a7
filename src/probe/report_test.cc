#include "probe/report.h"

#include <gtest/gtest.h>

namespace proxyvpn::probe {
namespace {

TEST(Report, SaysWhatHappenedInOrder) {
  ProbeReport report;
  report.question = "example.org. IN A";
  report.server = {{IpAddress::v4(0xc0000235), 53}, {}};
  report.transport = Transport::TcpThroughProxy;
  report.proxy = Endpoint{*IpAddress::parse("2001:db8::10"), 3128};
  report.proxy_status = 200;
  report.times = {std::nullopt, Microseconds(1234), Microseconds(20'000), Microseconds(345'678),
                  Microseconds(400'000)};
  dns::Record record;
  record.name = "example.org";
  record.type = 1;
  record.ttl = 60;
  record.data = "192.0.2.5";
  report.answer.emplace();
  report.answer->recursion_available = true;
  report.answer->records = {record};
  report.answer->addresses = {IpAddress::v4(0xc0000205)};
  report.notes = {"a remark"};
  EXPECT_EQ(
      "question   example.org. IN A\n"
      "server     192.0.2.53:53 over TCP through the proxy [2001:db8::10]:3128\n"
      "proxy      status 200 to CONNECT\n"
      "answer     NOERROR, 1 record\n"
      "           example.org. 60 IN A 192.0.2.5\n"
      "times      connect 1.2 ms, CONNECT 20.0 ms, DNS 345.7 ms, total 400.0 ms\n"
      "note       a remark\n",
      to_text(report));
}

TEST(Report, NoDataAndFlagsAreSaid) {
  ProbeReport report;
  report.question = "example.org. IN AAAA";
  report.server = {{IpAddress::v4(0xc0000235), 53}, {}};
  report.answer.emplace();
  report.answer->authoritative = true;
  EXPECT_EQ(
      "question   example.org. IN AAAA\n"
      "server     192.0.2.53:53 over UDP\n"
      "answer     NOERROR, 0 records, none of the type that was asked for, authoritative, the "
      "server offers no recursion\n"
      "times      total 0.0 ms\n",
      to_text(report));
}

}  // namespace
}  // namespace proxyvpn::probe
