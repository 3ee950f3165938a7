#include "app/effective_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "app/option_table.h"

namespace proxyvpn::app {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

struct Set {
  Config config;
  EffectiveOptions options;
};

// As a start or a reading of the files makes it.
Set made_of(UpFlags flags) {
  flags.proxy_url = flags.proxy_url.value_or("http://alice:old@192.0.2.1:8080");
  flags.origins["proxy-url"] = {Place::UserFile, "/c:1", {"/c:1:1: proxy-url"}};
  UpFlags merged = flags;
  auto judgement = judge(merged, {});
  EXPECT_THAT(judgement.mistakes, IsEmpty());
  return {judgement.checked.config, effective_options(merged, judgement)};
}

TEST(EffectiveOptions, ComeBackAsTheyWere) {
  UpFlags flags;
  flags.dns = {"192.0.2.53", "192.0.2.54"};
  flags.allow_lan = true;
  auto options = made_of(flags).options;
  options.warnings = {"a warning"};
  options.mistakes = {"one", "two"};
  const auto bytes = encode(options);
  const auto back = decode_options(bytes);
  ASSERT_TRUE(back);
  EXPECT_EQ(back->values, options.values);
  EXPECT_EQ(back->proxy.host, "192.0.2.1");
  EXPECT_EQ(back->proxy.credentials, options.proxy.credentials);
  EXPECT_EQ(back->warnings, options.warnings);
  EXPECT_EQ(back->mistakes, options.mistakes);
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(decode_options(std::span(bytes).first(size))) << size;
  }
  auto longer = bytes;
  longer.push_back(0);
  EXPECT_FALSE(decode_options(longer));
}

TEST(PlanReload, WhatCanChangeIsAppliedAndWhatCannotIsNamed) {
  const auto before = made_of({});
  UpFlags flags;
  flags.dns = {"192.0.2.53"};
  flags.exclude = {"198.51.100.0/24"};
  flags.exempt_user = {"65534"};
  flags.allow_lan = true;
  flags.connect_timeout = "3";
  flags.preconnect = "4";
  flags.log_level = "error";
  flags.mtu = "1400";
  flags.egress_guard = true;
  const auto plan = plan_reload(before.config, before.options, made_of(flags).options);
  ASSERT_TRUE(plan) << plan.error().message;
  EXPECT_THAT(plan->applied, UnorderedElementsAre("dns", "exclude", "exempt-user", "allow-lan",
                                                  "connect-timeout", "preconnect", "log-level"));
  EXPECT_THAT(plan->restart, UnorderedElementsAre("mtu", "egress-guard"));
  EXPECT_FALSE(plan->credentials);
  EXPECT_EQ(plan->config.dns.size(), 1u);
  EXPECT_EQ(plan->config.exempt_users, std::vector<uid_t>{65534});
  EXPECT_EQ(plan->config.connect_timeout, milliseconds(3000));
  EXPECT_EQ(plan->config.preconnect, 4u);
  EXPECT_EQ(plan->config.log_level, log::Level::Error);
  EXPECT_EQ(plan->config.mtu, 1500u);
  EXPECT_FALSE(plan->config.egress_guard);
  // What could not change is named again the next time, and the rest is not.
  const auto again = plan_reload(plan->config, plan->options, made_of(flags).options);
  EXPECT_THAT(again->applied, IsEmpty());
  EXPECT_THAT(again->restart, UnorderedElementsAre("mtu", "egress-guard"));
  // And a file that goes back to what is in force is no change at all.
  const auto back = plan_reload(before.config, before.options, made_of({}).options);
  EXPECT_THAT(back->applied, IsEmpty());
  EXPECT_THAT(back->restart, IsEmpty());
}

TEST(PlanReload, CredentialsChangeAndAnotherProxyDoesNotGetThem) {
  const auto before = made_of({});
  UpFlags flags;
  flags.proxy_url = "http://bob:new@192.0.2.1:8080";
  const auto plan = plan_reload(before.config, before.options, made_of(flags).options);
  EXPECT_THAT(plan->applied, ElementsAre("credentials"));
  EXPECT_TRUE(plan->credentials);
  EXPECT_EQ(plan->config.proxy.credentials->username, "bob");
  flags.proxy_url = "http://bob:new@192.0.2.2:8080";
  const auto other = plan_reload(before.config, before.options, made_of(flags).options);
  EXPECT_THAT(other->restart, ElementsAre("proxy"));
  EXPECT_FALSE(other->credentials);
  EXPECT_EQ(other->config.proxy.credentials->username, "alice");
  EXPECT_EQ(other->config.proxy.host, "192.0.2.1");
}

TEST(PlanReload, APasswordThatWasTypedStays) {
  const auto before = made_of({});
  auto fresh = made_of({}).options;
  fresh.password_was_typed = true;
  fresh.proxy.credentials->password = Secret();
  const auto plan = plan_reload(before.config, before.options, fresh);
  EXPECT_THAT(plan->applied, IsEmpty());
  EXPECT_EQ(plan->config.proxy.credentials->password.reveal(), "old");
}

TEST(PlanReload, NothingOfAValueThatIsNoGoodIsTaken) {
  const auto before = made_of({});
  auto fresh = made_of({}).options;
  for (std::size_t i = 0; i < option_rows().size(); ++i) {
    if (std::string_view(option_rows()[i].name) == "dns") fresh.values[i] = {"nowhere"};
  }
  EXPECT_FALSE(plan_reload(before.config, before.options, fresh));
}

}  // namespace
}  // namespace proxyvpn::app
