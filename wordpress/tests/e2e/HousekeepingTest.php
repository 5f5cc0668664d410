<?php
require_once __DIR__ . '/SiteTestCase.php';

/** Health, privacy, keys, and what is left when the plugin goes. */
final class HousekeepingTest extends SiteTestCase {

	private function health( string $test, string $before = '' ): string {
		return $this->site->wp( "$before return Sluice_Health::$test()['status'];" );
	}

	public function test_site_health_says_what_keeps_results_from_arriving(): void {
		$this->assertSame( 'recommended', $this->health( 'contact' ) );
		$this->site->callback();
		foreach ( array( 'keys', 'contact', 'header', 'clock', 'database', 'follow_ups', 'permalinks' ) as $test ) {
			$this->assertSame( 'good', $this->health( $test ), $test );
		}
		$this->assertSame( 'recommended', $this->health( 'tls' ), 'the test site speaks plain HTTP' );
		$this->assertSame( 'critical', $this->health( 'keys', 'add_filter( "pre_option_sluice_keys", fn() => array( "x" => "not a key" ) );' ) );
		$this->assertSame( 'recommended', $this->health( 'keys', 'add_filter( "pre_option_sluice_jwks_url", fn() => "https://x.example/" ); add_filter( "pre_option_sluice_jwks_state", fn() => array( "at" => 1, "error" => "x" ) );' ) );
		$this->assertSame( 'recommended', $this->health( 'clock', 'add_filter( "pre_option_sluice_seen", fn() => array( "at" => time(), "header" => "X-Sluice-Authorization", "skew" => 25, "https" => true ) );' ) );
		$this->assertSame( 'recommended', $this->health( 'header', 'add_filter( "pre_option_sluice_seen", fn() => array( "at" => time(), "header" => "Authorization", "skew" => 0, "https" => true ) );' ) );
		$this->assertSame( 'recommended', $this->health( 'follow_ups', 'wp_clear_scheduled_hook( "sluice_sweep" );' ) );
		$this->site->wp( 'Sluice_Plugin::ensure_event();' );
		$this->assertSame( 8, $this->site->wp( 'return count( preg_grep( "/^sluice_/", array_keys( apply_filters( "site_status_tests", array( "direct" => array() ) )["direct"] ) ) );' ) );
	}

	public function test_a_job_with_a_post_is_as_private_as_its_post(): void {
		$post = $this->site->callback()['json']['post_id'];
		$this->site->report( array( array( 'job_id' => 'job_0123456789', 'type' => 'x', 'source' => 'x', 'route' => 'x', 'state' => 'deadletter', 'attempts' => 1, 'updated_at' => '2026-11-24T08:00:00Z' ) ) );
		$as   = static fn( string $login, string $cap ) => "\$user = get_user_by( 'login', '$login' ); add_filter( 'user_has_cap', fn( \$caps ) => array( '$cap' => true ) + \$caps ); wp_set_current_user( \$user->ID ); return array( current_user_can( 'edit_post', $post ), array_column( Sluice_Rest::jobs( new WP_REST_Request() )->get_data()['jobs'], 'job_id' ) );";
		$seen = fn( string $login ) => $this->site->wp( $as( $login, 'sluice_view_jobs' ) );
		$this->assertSame( array( false, array( 'job_0123456789' ) ), $seen( 'author' ), 'not the one of a post of somebody else' );
		$this->assertCount( 2, $seen( 'editor' )[1] );
		$this->assertSame( array(), $this->site->wp( $as( 'author', 'nothing' ) )[1], 'without the right nothing at all' );
	}

	public function test_no_page_for_support_holds_a_key_or_a_token(): void {
		$this->site->callback();
		$told = json_encode( $this->site->wp( 'return apply_filters( "debug_information", array() );', 'admin' ) );
		$this->assertStringContainsString( $this->site->signer->kid(), $told );
		$this->assertStringNotContainsString( Sluice_Token::encode( $this->site->signer->public ), $told );
		$this->assertStringNotContainsString( 'eyJ', $told );
	}

	public function test_a_person_can_see_and_erase_what_is_known_of_them(): void {
		$code = '$id = get_user_by( "login", "editor" )->ID; update_user_meta( $id, "sluice_notify", "daily" ); Sluice_Requests::ask( "retry", "job_0123456789", $id );';
		$data = $this->site->wp( $code . ' return Sluice_Privacy::export( "editor@example.test" );' );
		$this->assertSame( array( true, 2 ), array( $data['done'], count( $data['data'] ) ) );
		$this->assertStringContainsString( 'job_0123456789', json_encode( $data ) );
		$this->assertTrue( $this->site->wp( 'return Sluice_Privacy::erase( "editor@example.test" )["items_removed"];' ) );
		$this->assertSame( array(), $this->site->wp( 'return Sluice_Privacy::export( "editor@example.test" )["data"];' ) );
		$this->assertSame( array(), $this->site->wp( 'return Sluice_Privacy::export( "nobody@example.test" )["data"];' ) );
		$this->assertSame( '0', $this->site->value( 'SELECT MAX(user_id) FROM wp_sluice_requests' ) );
	}

	public function test_keys_that_cannot_be_fetched_leave_the_ones_from_before_in_force(): void {
		foreach ( array( 'http://gateway.example/keys', 'ftp://127.0.0.1/', 'https://user:pw@gateway.example/', 'file:///etc/passwd', '' ) as $url ) {
			$this->assertFalse( $this->site->wp( "return Sluice_Keys::may_fetch( '$url' );" ), $url );
		}
		$before = $this->site->wp( 'return get_option( "sluice_keys" );' );
		foreach ( array( 'array( "response" => array( "code" => 500 ), "body" => "" )', 'array( "response" => array( "code" => 200 ), "body" => "<html>" )', 'new WP_Error( "x", "x" )' ) as $answer ) {
			$failed = $this->site->wp( "update_option( 'sluice_jwks_url', 'https://gateway.example/keys' ); add_filter( 'pre_http_request', fn() => $answer, 99 ); return is_wp_error( Sluice_Keys::fetch() );" );
			$this->assertTrue( $failed );
			$this->assertSame( $before, $this->site->wp( 'return get_option( "sluice_keys" );' ) );
		}
		$this->assertOutcome( 'created', 201, $this->site->callback() );
	}

	public function test_a_gateway_may_change_its_key_and_the_one_before_ends_with_the_set(): void {
		$new   = new Signer( 'new' );
		$set   = static fn( Signer ...$signers ) => json_encode( array( 'keys' => array_merge( ...array_map( static fn( $signer ) => json_decode( $signer->jwks(), true )['keys'], $signers ) ) ) );
		$sweep = fn( string $jwks ) => $this->site->wp( '$asked = 0; add_filter( "pre_http_request", function () use ( &$asked ) { ++$asked; return array( "headers" => array(), "response" => array( "code" => 200 ), "body" => ' . var_export( $jwks, true ) . ' ); }, 99 ); do_action( "sluice_sweep" ); return $asked;' );
		$by    = function ( Signer $signer ): int {
			$body = Signer::body();
			return $this->site->send( array( 'path' => 'callbacks', 'body' => $body, 'headers' => array( 'X-Sluice-Authorization: Bearer ' . $signer->sign( Signer::claims( $body, $this->site->uuid, time() ) ) ) ) )['status'];
		};
		$old   = $this->site->signer;
		$this->site->wp( 'update_option( "sluice_jwks_url", "https://gateway.example/keys" ); update_option( "sluice_jwks_state", array( "at" => time(), "error" => "" ) );' );
		$this->assertSame( array( 201, 0, 401 ), array( $by( $old ), $sweep( $set( $old, $new ) ), $by( $new ) ), 'not asked again within the hour' );
		$this->assertSame( array( 1, 0 ), array( $sweep( $set( $old, $new ) ), $sweep( $set( $old ) ) ), 'but once for the key that was missed' );
		$this->assertSame( array( 201, 201 ), array( $by( $old ), $by( $new ) ), 'both are published' );
		$this->site->wp( 'update_option( "sluice_jwks_state", array( "at" => time() - 3700, "error" => "" ) );' );
		$this->assertSame( 1, $sweep( $set( $new ) ), 'each hour' );
		$this->assertSame( array( 401, 201 ), array( $by( $old ), $by( $new ) ), 'the old one is retired' );
		$this->site->wp( 'update_option( "sluice_keys", ' . var_export( Sluice_Token::keys( $old->jwks() ), true ) . ' );' );
	}

	public function test_keys_of_wp_config_win(): void {
		$other = new Signer( 'other' );
		$this->assertSame( array( $other->kid() ), $this->site->wp( 'define( "SLUICE_JWKS", \'' . $other->jwks() . '\' ); return array_keys( Sluice_Keys::usable() );' ) );
		$this->assertSame( array(), $this->site->wp( 'define( "SLUICE_JWKS", "damaged" ); return array_keys( Sluice_Keys::usable() );' ), 'and fail closed' );
	}

	public function test_old_rows_are_swept_and_those_that_still_matter_are_not(): void {
		$this->site->callback();
		$this->site->query( 'UPDATE wp_sluice_inbox SET received_at = 1' );
		$this->site->query( 'UPDATE wp_sluice_tokens SET expires_at = 1' );
		$this->site->query( "INSERT INTO wp_sluice_jobs (job_id, type, state, last_error, updated_at) VALUES ('job_old', 'x', 'succeeded', '', 1), ('job_dead', 'x', 'deadletter', '', 1)" );
		$this->site->wp( 'do_action( "sluice_sweep" );' );
		$this->assertSame( array( '0', '0', 'job_dead' ), array( $this->site->value( 'SELECT COUNT(*) FROM wp_sluice_inbox' ), $this->site->value( 'SELECT COUNT(*) FROM wp_sluice_tokens' ), $this->site->value( "SELECT GROUP_CONCAT(job_id) FROM wp_sluice_jobs WHERE job_id IN ('job_old', 'job_dead')" ) ) );
	}

	public function test_removal_keeps_what_was_stored_unless_it_was_asked_to_go_and_posts_stay(): void {
		$this->site->callback();
		$uninstall = 'define( "WP_UNINSTALL_PLUGIN", "sluice/sluice.php" ); require WP_PLUGIN_DIR . "/sluice/uninstall.php"; wp_cache_flush(); ';
		$left      = 'global $wpdb; return array( count( $wpdb->get_col( "SHOW TABLES LIKE \'%sluice%\'" ) ), (int) $wpdb->get_var( "SELECT COUNT(*) FROM $wpdb->options WHERE option_name LIKE \'%sluice%\'" ), (int) $wpdb->get_var( "SELECT COUNT(*) FROM $wpdb->postmeta WHERE meta_key LIKE \'%sluice%\'" ), str_contains( $wpdb->get_var( "SELECT option_value FROM $wpdb->options WHERE option_name = \'cron\'" ), "sluice" ), str_contains( $wpdb->get_var( "SELECT option_value FROM $wpdb->options WHERE option_name = \'wp_user_roles\'" ), "sluice" ) );';
		$kept      = $this->site->wp( $uninstall . $left );
		$this->assertSame( array( 7, false, false ), array( $kept[0], $kept[3], $kept[4] ) );
		$this->assertGreaterThan( 0, $kept[2] );
		try {
			$gone = $this->site->wp( 'update_option( "sluice_remove_data", 1 ); ' . $uninstall . $left );
			$this->assertSame( array( 0, 0, 0, false, false ), $gone );
			$this->assertSame( '1', $this->site->value( "SELECT COUNT(*) FROM wp_posts WHERE post_title = 'Invoice paid' AND post_type = 'post'" ) );
		} finally {
			// The next process finds no tables and makes them: an update runs no activation either.
			$this->site->wp( 'Sluice_Plugin::ensure_event(); update_option( "sluice_keys", ' . var_export( Sluice_Token::keys( $this->site->signer->jwks() ), true ) . ' ); $GLOBALS["wpdb"]->query( "DELETE FROM wp_posts WHERE post_title = \'Invoice paid\'" );' );
			$this->site->uuid = $this->site->value( "SELECT option_value FROM wp_options WHERE option_name = 'sluice_site_uuid'" );
		}
		$this->assertOutcome( 'created', 201, $this->site->callback() );
	}
}
