#include "dns/message.h"

#include <arpa/nameser.h>
#include <netinet/in.h>
#include <resolv.h>

#include <algorithm>
#include <array>

#include "base/hex.h"

namespace proxyvpn::dns {
namespace {

constexpr std::array<std::string_view, 11> kRcodeNames = {
    "NOERROR",  "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED",
    "YXDOMAIN", "YXRRSET", "NXRRSET",  "NOTAUTH",  "NOTZONE"};
constexpr std::size_t kMaxHexBytes = 32;  // of a record of unknown type, in its text

std::string without_dot(std::string name) {
  if (name.size() > 1 && name.back() == '.') name.pop_back();
  return name;
}

// Names compare without case (RFC 1035 section 2.3.3); both as the library writes them, so that
// escapes are the same. strcasecmp(3) would ask the locale.
bool same_name(std::string_view a, std::string_view b) {
  const auto lower = [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [&](char x, char y) { return lower(x) == lower(y); });
}

struct TypeName {
  std::uint16_t type;
  std::string_view name;
};
constexpr std::array<TypeName, 11> kTypeNames = {{{1, "A"},
                                                  {2, "NS"},
                                                  {5, "CNAME"},
                                                  {6, "SOA"},
                                                  {12, "PTR"},
                                                  {15, "MX"},
                                                  {16, "TXT"},
                                                  {28, "AAAA"},
                                                  {39, "DNAME"},
                                                  {46, "RRSIG"},
                                                  {65, "HTTPS"}}};

// "\# 4 0a000001" (RFC 3597 section 5), cut behind kMaxHexBytes.
std::string generic_data(std::span<const std::uint8_t> data) {
  std::string out = "\\# " + std::to_string(data.size());
  if (!data.empty()) out += ' ';
  out += hex(data.first(std::min(data.size(), kMaxHexBytes)));
  if (data.size() > kMaxHexBytes) out += "...";
  return out;
}

// A name inside a record's data, decompressed within the message.
std::optional<std::string> name_in(const ns_msg& message, std::span<const std::uint8_t> data) {
  std::array<char, NS_MAXDNAME> text{};
  const int used = ns_name_uncompress(ns_msg_base(message), ns_msg_end(message), data.data(),
                                      text.data(), text.size());
  if (used < 0 || static_cast<std::size_t>(used) != data.size()) return std::nullopt;
  return without_dot(text.data());
}

// Empty when the data does not fit its type.
std::optional<Record> to_record(const ns_msg& message, const ns_rr& rr) {
  Record out;
  out.name = without_dot(ns_rr_name(rr));
  out.type = rr.type;
  out.ttl = ns_rr_ttl(rr);
  const std::span<const std::uint8_t> data(ns_rr_rdata(rr), ns_rr_rdlen(rr));
  switch (out.type) {
    case ns_t_a:
      if (data.size() != NS_INADDRSZ) return std::nullopt;
      out.address = IpAddress::v4(data.first<NS_INADDRSZ>());
      out.data = proxyvpn::to_string(*out.address);
      return out;
    case ns_t_aaaa:
      if (data.size() != NS_IN6ADDRSZ) return std::nullopt;
      out.address = IpAddress::v6(data.first<NS_IN6ADDRSZ>());
      out.data = proxyvpn::to_string(*out.address);
      return out;
    case ns_t_cname:
    case ns_t_ns:
    case ns_t_ptr: {
      auto name = name_in(message, data);
      if (!name) return std::nullopt;
      out.data = std::move(*name);
      return out;
    }
    default:
      out.data = generic_data(data);
      return out;
  }
}

// The reason why `message` does not answer `query`; empty when it does.
std::string mismatch(ns_msg& message, const Query& query) {
  if (ns_msg_id(message) != query.id) {
    return "its id is " + std::to_string(ns_msg_id(message)) + ", the question's was " +
           std::to_string(query.id);
  }
  if (ns_msg_getflag(message, ns_f_qr) == 0) return "it is a question, not a response";
  if (ns_msg_getflag(message, ns_f_opcode) != ns_o_query) return "it answers another operation";
  const auto questions = ns_msg_count(message, ns_s_qd);
  // A server that could not read the question may leave it out (FORMERR, RFC 1035 section 4.1.1).
  if (questions == 0 && ns_msg_getflag(message, ns_f_rcode) != ns_r_noerror) return {};
  if (questions != 1) return "it repeats " + std::to_string(questions) + " questions, not one";
  ns_rr question{};
  if (ns_parserr(&message, ns_s_qd, 0, &question) != 0) return "its question does not parse";
  const bool same = same_name(without_dot(ns_rr_name(question)), query.name) &&
                    question.type == static_cast<std::uint16_t>(query.type) &&
                    ns_rr_class(question) == ns_c_in;
  if (same) return {};
  return "it answers another question: " + without_dot(ns_rr_name(question)) + " " +
         type_name(question.type);
}

// Where the CNAMEs lead from the question's name; a loop ends after kMaxAliases.
void follow_aliases(Answer& answer, const Query& query) {
  answer.canonical_name = query.name;
  for (std::size_t hop = 0; hop < kMaxAliases; ++hop) {
    const auto next =
        std::find_if(answer.records.begin(), answer.records.end(), [&](const Record& r) {
          return r.type == ns_t_cname && same_name(r.name, answer.canonical_name);
        });
    if (next == answer.records.end()) break;
    answer.canonical_name = next->data;
  }
  for (const auto& record : answer.records) {
    if (record.address && record.type == static_cast<std::uint16_t>(query.type) &&
        same_name(record.name, answer.canonical_name)) {
      answer.addresses.push_back(*record.address);
    }
  }
}

bool visible_ascii(std::string_view name) {
  return std::all_of(name.begin(), name.end(), [](char c) { return c > ' ' && c <= '~'; });
}

tl::unexpected<Error> bad_answer(const std::string& why) {
  return fail(Code::Protocol, "the DNS answer cannot be used: " + why);
}

// A cut answer may stop inside a record, which ns_initparse() refuses as a whole: the header alone
// tells that it is ours and that TCP has the rest.
Result<Answer> cut_answer(std::span<const std::uint8_t> message, const Query& query) {
  std::array<std::uint8_t, NS_HFIXEDSZ> header{};
  std::copy_n(message.begin(), header.size(), header.begin());
  std::fill(header.begin() + 4, header.end(), std::uint8_t{0});  // no section to look for
  ns_msg handle{};
  if (ns_initparse(header.data(), header.size(), &handle) != 0 || ns_msg_id(handle) != query.id ||
      ns_msg_getflag(handle, ns_f_qr) == 0 || ns_msg_getflag(handle, ns_f_tc) == 0) {
    return bad_answer("its " + std::to_string(message.size()) + " bytes are no DNS message");
  }
  Answer answer;
  answer.truncated = true;
  answer.rcode = ns_msg_getflag(handle, ns_f_rcode);
  answer.canonical_name = query.name;
  return answer;
}

}  // namespace

std::string type_name(std::uint16_t type) {
  const auto* known = std::find_if(kTypeNames.begin(), kTypeNames.end(),
                                   [&](const TypeName& entry) { return entry.type == type; });
  if (known != kTypeNames.end()) return std::string(known->name);
  return "TYPE" + std::to_string(type);
}

std::string rcode_name(int rcode) {
  if (rcode >= 0 && static_cast<std::size_t>(rcode) < kRcodeNames.size())
    return std::string(kRcodeNames[static_cast<std::size_t>(rcode)]);
  return "RCODE" + std::to_string(rcode);
}

Result<Query> build_query(std::string_view name, RecordType type) {
  const auto bad = [&](const char* why) {
    return fail(Code::InvalidArgument, "'" + std::string(name) + "' cannot be asked for: " + why);
  };
  if (name.empty() || name == ".") return bad("a host name is needed");
  if (!visible_ascii(name))
    return bad("only visible ASCII; write an international name in its xn-- form");
  const auto asked = without_dot(std::string(name));
  Query query;
  query.type = type;
  query.bytes.resize(NS_PACKETSZ);
  // Not res_ninit(3): only this option counts, and the machine's resolv.conf must not.
  struct __res_state state {};
  state.options = RES_RECURSE;
  const int length =
      ::res_nmkquery(&state, ns_o_query, asked.c_str(), ns_c_in, static_cast<int>(type), nullptr, 0,
                     nullptr, query.bytes.data(), static_cast<int>(query.bytes.size()));
  if (length < NS_HFIXEDSZ)
    return bad("a label has at most 63 bytes, is not empty, and a name has at most 255");
  query.bytes.resize(static_cast<std::size_t>(length));
  ns_msg message{};
  ns_rr question{};
  if (ns_initparse(query.bytes.data(), length, &message) != 0 ||
      ns_parserr(&message, ns_s_qd, 0, &question) != 0) {
    return bad("the library wrote a question that it cannot read");
  }
  query.id = ns_msg_id(message);
  query.name = without_dot(ns_rr_name(question));
  return query;
}

std::string to_string(const Record& record) {
  const auto dot = [](const std::string& name) { return name == "." ? name : name + "."; };
  const bool is_name =
      record.type == ns_t_cname || record.type == ns_t_ns || record.type == ns_t_ptr;
  return dot(record.name) + " " + std::to_string(record.ttl) + " IN " + type_name(record.type) +
         " " + (is_name ? dot(record.data) : record.data);
}

Result<Answer> parse_answer(std::span<const std::uint8_t> message, const Query& query) {
  if (message.size() < NS_HFIXEDSZ) {
    return bad_answer("it has " + std::to_string(message.size()) + " bytes, a header has 12");
  }
  if (message.size() > kMaxMessageBytes) return bad_answer("it is longer than 65535 bytes");
  ns_msg handle{};
  if (ns_initparse(message.data(), static_cast<int>(message.size()), &handle) != 0)
    return cut_answer(message, query);
  if (const auto why = mismatch(handle, query); !why.empty()) return bad_answer(why);
  Answer answer;
  answer.rcode = ns_msg_getflag(handle, ns_f_rcode);
  answer.truncated = ns_msg_getflag(handle, ns_f_tc) != 0;
  answer.authoritative = ns_msg_getflag(handle, ns_f_aa) != 0;
  answer.recursion_available = ns_msg_getflag(handle, ns_f_ra) != 0;
  const std::size_t count = ns_msg_count(handle, ns_s_an);
  if (count > kMaxRecords) {
    return bad_answer("it has " + std::to_string(count) + " records, more than " +
                      std::to_string(kMaxRecords));
  }
  for (std::size_t i = 0; i < count; ++i) {
    ns_rr rr{};
    std::optional<Record> record;
    if (ns_parserr(&handle, ns_s_an, static_cast<int>(i), &rr) == 0) record = to_record(handle, rr);
    if (!record) return bad_answer("record " + std::to_string(i + 1) + " does not parse");
    answer.records.push_back(std::move(*record));
  }
  follow_aliases(answer, query);
  return answer;
}

std::vector<std::uint8_t> with_length_prefix(std::span<const std::uint8_t> message) {
  std::vector<std::uint8_t> out;
  out.reserve(message.size() + 2);
  out.push_back(static_cast<std::uint8_t>(message.size() >> 8));
  out.push_back(static_cast<std::uint8_t>(message.size() & 0xff));
  out.insert(out.end(), message.begin(), message.end());
  return out;
}

bool TcpMessageReader::feed(std::span<const std::uint8_t> bytes) {
  bytes_.insert(bytes_.end(), bytes.begin(),
                bytes.begin() + static_cast<std::ptrdiff_t>(
                                    std::min(bytes.size(), kMaxMessageBytes + 2 - bytes_.size())));
  if (bytes_.size() < 2) return false;
  const std::size_t length = static_cast<std::size_t>(bytes_[0]) << 8 | bytes_[1];
  return bytes_.size() >= length + 2;
}

std::span<const std::uint8_t> TcpMessageReader::message() const noexcept {
  const std::size_t length = static_cast<std::size_t>(bytes_[0]) << 8 | bytes_[1];
  return std::span<const std::uint8_t>(bytes_).subspan(2, length);
}

}  // namespace proxyvpn::dns
