# shellcheck shell=bash
# A real WordPress on loopback: a database server of its own without TCP, PHP's own web server, everything
# in one temporary folder. Sourced; the sourcing script calls site_cleanup on its way out.

SITE_HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
SITE_SERVERS=()
SITE_DB_PID=

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# database_start DIR: starts a database server in DIR.
database_start() {
  SITE_DB=$1
  local as=()
  [ "$(id -u)" = 0 ] && as=(--user=root)
  mkdir -p "$SITE_DB"
  mariadb-install-db --no-defaults "${as[@]}" --datadir="$SITE_DB/data" --auth-root-authentication-method=normal \
    --skip-test-db >"$SITE_DB/install.log" 2>&1
  mariadbd --no-defaults "${as[@]}" --datadir="$SITE_DB/data" --socket="$SITE_DB/sock" --pid-file="$SITE_DB/pid" \
    --skip-networking --innodb-buffer-pool-size=32M --innodb-flush-log-at-trx-commit=0 --skip-log-bin \
    --performance-schema=0 --max-connections=100 >"$SITE_DB/log" 2>&1 &
  SITE_DB_PID=$!
  for _ in $(seq 300); do
    mariadb-admin --no-defaults -uroot --socket="$SITE_DB/sock" ping >/dev/null 2>&1 && return 0
    kill -0 "$SITE_DB_PID" 2>/dev/null || break
    sleep 0.1
  done
  echo "the database did not start:" >&2
  tail -20 "$SITE_DB/log" >&2
  return 1
}

# site_make TREE DIR PORT ZIP [CONFIG]: makes a site in DIR from an unpacked tree, with the plugin installed
# and active. CONFIG is PHP for wp-config.php.
site_make() {
  local tree=$1 dir=$2 port=$3 zip=$4 config=${5-}
  local name
  name=wp_$(basename "$dir" | tr -c 'a-z0-9\n' '_')
  mkdir -p "$dir"
  cp -a "$tree/wp" "$dir/wp"
  mariadb --no-defaults -uroot --socket="$SITE_DB/sock" \
    -e "DROP DATABASE IF EXISTS $name; CREATE DATABASE $name CHARACTER SET utf8mb4"
  {
    echo '<?php'
    echo "define( 'DB_NAME', '$name' ); define( 'DB_USER', 'root' ); define( 'DB_PASSWORD', '' );"
    echo "define( 'DB_HOST', 'localhost:$SITE_DB/sock' ); define( 'DB_CHARSET', 'utf8mb4' ); define( 'DB_COLLATE', '' );"
    for salt in AUTH_KEY SECURE_AUTH_KEY LOGGED_IN_KEY NONCE_KEY AUTH_SALT SECURE_AUTH_SALT LOGGED_IN_SALT NONCE_SALT; do
      echo "define( '$salt', 'test $salt' );"
    done
    echo "define( 'WP_HOME', 'http://127.0.0.1:$port' ); define( 'WP_SITEURL', WP_HOME );"
    echo "define( 'WP_DEBUG', true ); define( 'WP_DEBUG_LOG', '$dir/debug.log' ); define( 'WP_DEBUG_DISPLAY', false );"
    echo "define( 'DISABLE_WP_CRON', true ); define( 'AUTOMATIC_UPDATER_DISABLED', true );"
    echo "define( 'SLUICE_TEST_DIR', '$dir' );"
    echo "$config"
    # shellcheck disable=SC2016 # PHP's variable
    echo '$table_prefix = "wp_";'
    echo "defined( 'ABSPATH' ) || define( 'ABSPATH', __DIR__ . '/' );"
    echo "require_once ABSPATH . 'wp-settings.php';"
  } >"$dir/wp/wp-config.php"
  mkdir -p "$dir/wp/wp-content/mu-plugins" "$dir/wp/wp-content/uploads"
  cp "$SITE_HERE/offline.php" "$dir/wp/wp-content/mu-plugins/"
  php "$SITE_HERE/install.php" "$dir/wp" "127.0.0.1:$port"
  # The zip goes through WordPress's own installer.
  php "$SITE_HERE/eval.php" "$dir/wp" "127.0.0.1:$port" admin <<PHP >"$dir/plugin.log"
require_once ABSPATH . 'wp-admin/includes/class-wp-upgrader.php';
\$installer = new Plugin_Upgrader( new Automatic_Upgrader_Skin() );
\$done = \$installer->install( '$zip' );
\$active = true === \$done ? activate_plugin( 'sluice/sluice.php' ) : \$done;
return array( \$done, is_wp_error( \$active ) ? \$active->get_error_messages() : 'active' );
PHP
  grep -q '"active"' "$dir/plugin.log" || { echo "the plugin could not be installed:" >&2; cat "$dir/plugin.log" >&2; return 1; }
}

# site_serve DIR PORT: serves a site; site_stop DIR stops it. Its workers share a process group.
site_serve() {
  local dir=$1 port=$2
  PHP_CLI_SERVER_WORKERS=${SITE_WORKERS:-6} setsid php -d opcache.enable_cli=1 -d opcache.revalidate_freq=0 -S "127.0.0.1:$port" \
    -t "$dir/wp" "$SITE_HERE/router.php" >"$dir/server.log" 2>&1 &
  echo $! >"$dir/server.pid"
  SITE_SERVERS+=("$dir")
  for _ in $(seq 200); do
    curl -fsS -o /dev/null "http://127.0.0.1:$port/wp-login.php" 2>/dev/null && return 0
    sleep 0.1
  done
  echo "the site did not start:" >&2
  tail -20 "$dir/server.log" >&2
  return 1
}

site_stop() {
  local pid
  pid=$(cat "$1/server.pid" 2>/dev/null) || return 0
  kill -TERM -- "-$pid" 2>/dev/null || true
  rm -f "$1/server.pid"
}

site_cleanup() {
  local dir
  for dir in "${SITE_SERVERS[@]}"; do site_stop "$dir"; done
  if [ -n "$SITE_DB_PID" ]; then
    kill -TERM "$SITE_DB_PID" 2>/dev/null || true
    wait "$SITE_DB_PID" 2>/dev/null || true
  fi
}

# site_network DIR PORT: makes a site that is not served yet a network of two, the plugin active on both.
site_network() {
  local dir=$1 port=$2
  php "$SITE_HERE/network.php" "$dir/wp" "127.0.0.1:$port" prepare
  sed -i "s|^define( 'WP_HOME'.*|define( 'MULTISITE', true ); define( 'SUBDOMAIN_INSTALL', false ); define( 'DOMAIN_CURRENT_SITE', '127.0.0.1:$port' ); define( 'PATH_CURRENT_SITE', '/' ); define( 'SITE_ID_CURRENT_SITE', 1 ); define( 'BLOG_ID_CURRENT_SITE', 1 );|" "$dir/wp/wp-config.php"
  php "$SITE_HERE/network.php" "$dir/wp" "127.0.0.1:$port" finish
}
