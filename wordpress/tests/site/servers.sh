# shellcheck shell=bash
# Web servers as sites have them, in front of a site of site.sh: from the folder of fetch-servers, in the
# foreground of one process group each, everything in the site's folder. Sourced.

SERVERS=$1
SERVERS_LIBRARIES=$(echo "$SERVERS"/root/usr/lib/*-linux-gnu)
SERVERS_INI=$(php -r 'echo dirname( explode( ",", php_ini_scanned_files() )[0] );')
# Neither Apache's nor FPM's workers run as root: then the site is somebody else's.
SERVERS_USER=$([ "$(id -u)" = 0 ] && echo www-data || id -un)

# server_run DIR NAME COMMAND…: starts a server; server_stop DIR stops all of a site's.
server_run() {
  local dir=$1 name=$2
  shift 2
  LD_LIBRARY_PATH=$SERVERS_LIBRARIES PHP_INI_SCAN_DIR=$SERVERS_INI setsid "$@" >"$dir/$name.log" 2>&1 &
  echo $! >>"$dir/servers.pids"
}

server_stop() {
  local pid
  [ -e "$1/servers.pids" ] || return 0
  while read -r pid; do kill -TERM -- "-$pid" 2>/dev/null || true; done <"$1/servers.pids"
  while read -r pid; do wait "$pid" 2>/dev/null || true; done <"$1/servers.pids"
  rm -f "$1/servers.pids"
}

server_wait() {
  local dir=$1 port=$2
  for _ in $(seq 200); do
    curl -fsS -o /dev/null "http://127.0.0.1:$port/wp-login.php" 2>/dev/null && return 0
    sleep 0.1
  done
  echo "the server did not start:" >&2
  tail -20 "$dir"/*.log >&2
  return 1
}

# server_nginx DIR PORT [HEADER]: nginx and FPM; HEADER (as HTTP_…) does not get through.
server_nginx() {
  local dir=$1 port=$2 header=${3-}
  {
    echo '[global]'
    echo "daemonize = no"
    echo "error_log = $dir/fpm-errors.log"
    echo '[site]'
    [ "$(id -u)" = 0 ] && echo "user = $SERVERS_USER" && echo "listen.mode = 0666"
    echo "listen = $dir/fpm.sock"
    echo 'pm = static'
    echo 'pm.max_children = 6'
  } >"$dir/fpm.conf"
  server_run "$dir" fpm "$SERVERS/root/usr/sbin/php-fpm" --nodaemonize --fpm-config "$dir/fpm.conf" -c /dev/null
  {
    [ "$(id -u)" = 0 ] && echo "user $SERVERS_USER;"
    echo "pid $dir/nginx.pid; error_log $dir/nginx-errors.log; daemon off; worker_processes 1; events {}"
    echo 'http { access_log off;'
    for path in client_body proxy fastcgi uwsgi scgi; do echo "${path}_temp_path $dir/nginx-$path;"; done
    echo "server { listen 127.0.0.1:$port; root $dir/wp; index index.php; client_max_body_size 8m;"
    # shellcheck disable=SC2016 # nginx's variables
    echo 'location / { try_files $uri $uri/ /index.php?$args; }'
    echo 'location ~ \.php$ {'
    # shellcheck disable=SC2016
    for pair in 'QUERY_STRING $query_string' 'REQUEST_METHOD $request_method' 'CONTENT_TYPE $content_type' \
      'CONTENT_LENGTH $content_length' 'SCRIPT_NAME $fastcgi_script_name' 'REQUEST_URI $request_uri' \
      'DOCUMENT_URI $document_uri' 'DOCUMENT_ROOT $document_root' 'SERVER_PROTOCOL $server_protocol' \
      'REMOTE_ADDR $remote_addr' 'SERVER_NAME $server_name' 'SERVER_PORT $server_port' \
      'SCRIPT_FILENAME $document_root$fastcgi_script_name'; do
      echo "fastcgi_param $pair;"
    done
    [ -n "$header" ] && echo "fastcgi_param $header \"\";"
    echo "fastcgi_pass unix:$dir/fpm.sock; } } }"
  } >"$dir/nginx.conf"
  server_run "$dir" nginx "$SERVERS/root/usr/sbin/nginx" -p "$dir" -c "$dir/nginx.conf" -e "$dir/nginx-errors.log"
  server_wait "$dir" "$port"
}

# server_apache DIR PORT: Apache with PHP inside, without the rewrite rule that saves Authorization.
server_apache() {
  local dir=$1 port=$2
  local modules=$SERVERS/root/usr/lib/apache2/modules
  {
    echo "ServerRoot $dir"
    echo "ServerName 127.0.0.1"
    echo "Listen 127.0.0.1:$port"
    echo "PidFile $dir/apache.pid"
    echo "ErrorLog $dir/apache-errors.log"
    echo "Mutex file:$dir"
    for module in mpm_prefork authz_core dir mime; do echo "LoadModule ${module}_module $modules/mod_$module.so"; done
    echo "LoadModule php_module $(echo "$modules"/libphp*.so)"
    [ "$(id -u)" = 0 ] && echo "User $SERVERS_USER" && echo "Group $SERVERS_USER"
    echo 'TypesConfig /etc/mime.types'
    echo 'StartServers 6'
    echo "DocumentRoot $dir/wp"
    echo 'DirectoryIndex index.php'
    echo 'FallbackResource /index.php'
    # shellcheck disable=SC2016 # Apache's own pattern
    echo '<FilesMatch \.php$>'
    echo 'SetHandler application/x-httpd-php'
    echo '</FilesMatch>'
  } >"$dir/apache.conf"
  server_run "$dir" apache "$SERVERS/root/usr/sbin/apache2" -d "$dir" -f "$dir/apache.conf" -DFOREGROUND
  server_wait "$dir" "$port"
}
