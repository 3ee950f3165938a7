#pragma once
// DNS messages for one question and its answer (RFC 1035), through glibc's libresolv: resolver(3),
// ns_initparse and ns_parserr do the parsing. Bytes in, values out: no sockets, no clock.
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/ip.h"

namespace proxyvpn::dns {

inline constexpr std::uint16_t kPort = 53;
inline constexpr std::size_t kMaxMessageBytes = 65535;  // what the TCP prefix can say
inline constexpr std::size_t kMaxRecords = 512;         // of an answer section
inline constexpr std::size_t kMaxAliases = 16;          // CNAMEs followed from the question's name

// The types that we ask for or look into; others come as numbers (IANA, DNS parameters).
enum class RecordType : std::uint16_t { A = 1, Ns = 2, Cname = 5, Ptr = 12, Aaaa = 28 };
// "A", "AAAA", "CNAME", ...; "TYPE65" for what has no name here (RFC 3597 section 5).
std::string type_name(std::uint16_t type);
// "NOERROR", "NXDOMAIN", "SERVFAIL", ... or "RCODE23" (RFC 6895 section 2.3).
std::string rcode_name(int rcode);

struct Query {
  std::uint16_t id = 0;  // random, chosen by the library
  std::string name;      // as the library writes it, without the trailing dot
  RecordType type = RecordType::A;
  std::vector<std::uint8_t> bytes;  // what goes on the wire, without a TCP prefix
};

// One question of class IN with recursion wanted. InvalidArgument for a name that has no place in a
// message: empty, a label over 63 bytes, over 255 in all, blanks, bytes outside ASCII.
Result<Query> build_query(std::string_view name, RecordType type);

struct Record {
  std::string name;                  // owner, without the trailing dot, escaped for a terminal
  std::uint16_t type = 0;            // a RecordType or another number
  std::uint32_t ttl = 0;             // seconds
  std::string data;                  // address or name; any other type as "\# length hex", cut
  std::optional<IpAddress> address;  // A and AAAA
};
// "ifconfig.me. 300 IN A 192.0.2.1", as in a zone file.
std::string to_string(const Record& record);

struct Answer {
  int rcode = 0;
  bool truncated = false;            // TC: ask again over TCP; the records may be incomplete
  bool authoritative = false;        // AA
  bool recursion_available = false;  // RA
  std::vector<Record> records;       // the answer section in order
  // What the question's name has in the end, CNAMEs followed: records of the asked type whose
  // owner is on the chain. Empty is NODATA (RFC 2308 section 2.2).
  std::vector<IpAddress> addresses;
  std::string canonical_name;  // the end of the chain
};

// Takes a message that shall answer `query`. Protocol errors: no whole header, another id, not a
// response, another question than ours, a record that does not parse, more than kMaxRecords. A
// truncated answer that ends in the middle of a record is no error and has no records.
Result<Answer> parse_answer(std::span<const std::uint8_t> message, const Query& query);

// The same bytes with the two-byte length of RFC 1035 section 4.2.2 in front.
std::vector<std::uint8_t> with_length_prefix(std::span<const std::uint8_t> message);

// Puts a TCP stream back together into its first message. Keeps at most kMaxMessageBytes.
class TcpMessageReader {
 public:
  // Takes bytes; true once the message is whole. Bytes behind it are ignored.
  bool feed(std::span<const std::uint8_t> bytes);
  // Valid when feed() said true.
  [[nodiscard]] std::span<const std::uint8_t> message() const noexcept;
  // Bytes received so far, the prefix included: for the error text of a stream that ends early.
  [[nodiscard]] std::size_t received() const noexcept { return bytes_.size(); }

 private:
  std::vector<std::uint8_t> bytes_;
};

}  // namespace proxyvpn::dns
