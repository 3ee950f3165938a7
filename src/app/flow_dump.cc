#include "app/flow_dump.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace proxyvpn::app {
namespace {

constexpr std::uint64_t kMagic = 0x31574f4c46565850;  // "PXVFLOW1"

template <class T>
void put(std::vector<std::uint8_t>& bytes, T value) {
  std::array<std::uint8_t, sizeof(T)> raw{};
  std::memcpy(raw.data(), &value, sizeof(T));
  bytes.insert(bytes.end(), raw.begin(), raw.end());
}

void put_address(std::vector<std::uint8_t>& bytes, const IpAddress& address) {
  const auto raw = address.bytes();
  bytes.insert(bytes.end(), raw.begin(), raw.end());
  bytes.insert(bytes.end(), 16 - raw.size(), 0);
}

// Takes fields off the front of bytes that are known to be long enough.
class FieldReader {
 public:
  explicit FieldReader(std::span<const std::uint8_t> bytes) : rest_(bytes) {}
  template <class T>
  T take() {
    T value{};
    std::memcpy(&value, take_bytes(sizeof(T)).data(), sizeof(T));
    return value;
  }
  std::span<const std::uint8_t> take_bytes(std::size_t count) {
    const auto front = rest_.first(count);
    rest_ = rest_.subspan(count);
    return front;
  }

 private:
  std::span<const std::uint8_t> rest_;
};

IpAddress address_of(std::span<const std::uint8_t> raw, bool v6) {
  return v6 ? IpAddress::v6(raw.first<16>()) : IpAddress::v4(raw.first<4>());
}

// Times that no clock of ours gives are no times.
constexpr std::uint64_t kLongestTime = 1ull << 53;

std::optional<FlowRecord> decode_record(std::span<const std::uint8_t> bytes) {
  FieldReader fields(bytes);
  FlowRecord flow;
  flow.id = fields.take<std::uint64_t>();
  const auto age = fields.take<std::uint64_t>();
  const auto idle = fields.take<std::uint64_t>();
  flow.bytes_up = fields.take<std::uint64_t>();
  flow.bytes_down = fields.take<std::uint64_t>();
  const auto source = fields.take_bytes(16);
  const auto destination = fields.take_bytes(16);
  flow.source.port = fields.take<std::uint16_t>();
  flow.destination.port = fields.take<std::uint16_t>();
  const auto family = fields.take<std::uint8_t>();
  const auto state = fields.take<std::uint8_t>();
  const bool v6 = family == static_cast<std::uint8_t>(Family::V6);
  if (!v6 && family != static_cast<std::uint8_t>(Family::V4)) return std::nullopt;
  if (state < static_cast<std::uint8_t>(connect::FlowState::Waiting) ||
      state > static_cast<std::uint8_t>(connect::FlowState::HalfClosed)) {
    return std::nullopt;
  }
  if (age > kLongestTime || idle > kLongestTime) return std::nullopt;
  flow.source.address = address_of(source, v6);
  flow.destination.address = address_of(destination, v6);
  flow.state = static_cast<connect::FlowState>(state);
  flow.age = milliseconds(static_cast<milliseconds::rep>(age));
  flow.idle = milliseconds(static_cast<milliseconds::rep>(idle));
  return flow;
}

}  // namespace

FlowRecord to_record(const connect::FlowInfo& flow, TimePoint now) noexcept {
  const auto since = [&](TimePoint then) {
    return std::max(milliseconds(0), std::chrono::duration_cast<milliseconds>(now - then));
  };
  FlowRecord record;
  record.id = flow.id;
  record.source = flow.key.source;
  record.destination = flow.key.destination;
  record.state = flow.state;
  record.age = since(flow.started);
  record.idle = since(flow.active);
  record.bytes_up = flow.bytes_up;
  record.bytes_down = flow.bytes_down;
  return record;
}

void append_header(std::vector<std::uint8_t>& bytes, TimePoint taken, std::uint64_t open,
                   std::uint64_t count) {
  put(bytes, kMagic);
  put(bytes, static_cast<std::uint64_t>(taken.time_since_epoch().count()));
  put(bytes, open);
  put(bytes, count);
}

void append_record(std::vector<std::uint8_t>& bytes, const FlowRecord& flow) {
  put(bytes, flow.id);
  put(bytes, static_cast<std::uint64_t>(flow.age.count()));
  put(bytes, static_cast<std::uint64_t>(flow.idle.count()));
  put(bytes, flow.bytes_up);
  put(bytes, flow.bytes_down);
  put_address(bytes, flow.source.address);
  put_address(bytes, flow.destination.address);
  put(bytes, flow.source.port);
  put(bytes, flow.destination.port);
  put(bytes, static_cast<std::uint8_t>(flow.destination.address.family()));
  put(bytes, static_cast<std::uint8_t>(flow.state));
  put(bytes, std::uint16_t{0});
}

std::optional<FlowDump> decode_flows(std::span<const std::uint8_t> bytes) {
  if (bytes.size() < kFlowHeaderSize) return std::nullopt;
  FieldReader header(bytes.first(kFlowHeaderSize));
  if (header.take<std::uint64_t>() != kMagic) return std::nullopt;
  FlowDump dump;
  dump.taken = TimePoint(Duration(header.take<std::int64_t>()));
  dump.open = header.take<std::uint64_t>();
  const auto count = header.take<std::uint64_t>();
  bytes = bytes.subspan(kFlowHeaderSize);
  if (dump.taken < TimePoint{} || count > kMostDumpedFlows ||
      count > bytes.size() / kFlowRecordSize || dump.open < count) {
    return std::nullopt;
  }
  dump.flows.reserve(count);
  for (std::uint64_t i = 0; i < count; ++i) {
    auto flow = decode_record(bytes.subspan(i * kFlowRecordSize, kFlowRecordSize));
    if (!flow) return std::nullopt;
    dump.flows.push_back(*flow);
  }
  return dump;
}

}  // namespace proxyvpn::app
