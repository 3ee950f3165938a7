#include "app/client_options.h"

#include <CLI/CLI.hpp>

#include "app/options.h"

namespace proxyvpn::app {

void define_client(CLI::App& app, ClientFlags& flags) {
  app.add_option("--firewall", flags.firewall,
                 "auto, nftables, nft, iptables-nft or iptables-legacy")
      ->type_name("BACKEND")
      ->group("Network Configuration")
      ->capture_default_str();
  app.add_option("--config", flags.config,
                 "Read this configuration file, and not those of the system and of the user")
      ->type_name("PATH")
      ->group("General");
  app.add_option("--state-dir", flags.state_dir, "State directory")
      ->type_name("PATH")
      ->group("General")
      ->default_str(Config{}.state_dir);
}

Result<Config> to_config(const ClientFlags& flags) {
  DownFlags typed;
  typed.config = flags.config;
  typed.state_dir = flags.state_dir;
  typed.firewall = flags.firewall;
  auto checked = to_config(typed);
  if (!checked) return tl::unexpected(checked.error());
  return std::move(checked->config);
}

}  // namespace proxyvpn::app
