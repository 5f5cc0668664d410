<?php
use PHPUnit\Framework\TestCase;

require_once dirname( __DIR__ ) . '/e2e/Site.php';

/** Two sites of one network. */
final class NetworkTest extends TestCase {

	public function test_each_site_has_tables_and_an_id_of_its_own_and_takes_only_what_is_for_it(): void {
		$site = Site::get();
		$two  = $site->url . '/two/?rest_route=/sluice/v1/callbacks';
		// The first request to the second site makes what it needs.
		$this->assertSame( 401, $site->send( array( 'url' => $two, 'body' => '{}' ) )['status'] );
		$uuid = $site->value( "SELECT option_value FROM wp_2_options WHERE option_name = 'sluice_site_uuid'" );
		$this->assertNotSame( $site->uuid, $uuid );
		$this->assertSame( '7', $site->value( "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME LIKE 'wp_2_sluice_%'" ) );
		$site->wp( 'switch_to_blog( 2 ); update_option( "sluice_keys", ' . var_export( Sluice_Token::keys( $site->signer->jwks() ), true ) . ' );' );
		$body = Signer::body();
		$this->assertSame( 401, $site->send( array( 'url' => $two ) + $site->signed( $body ) )['status'], 'a token for the first site' );
		$for_two = $site->signed( $body, array( 'aud' => array( 'wp', 'wp:' . $uuid ) ) );
		$this->assertSame( 401, $site->send( $for_two )['status'], 'a token for the second site' );
		$this->assertSame( 201, $site->send( array( 'url' => $two ) + $for_two )['status'] );
		$this->assertSame( array( '0', '1' ), array( $site->value( 'SELECT COUNT(*) FROM wp_sluice_inbox' ), $site->value( 'SELECT COUNT(*) FROM wp_2_sluice_inbox' ) ) );
		$this->assertSame( 201, $site->callback()['status'] );
	}

	/** @depends test_each_site_has_tables_and_an_id_of_its_own_and_takes_only_what_is_for_it */
	public function test_what_a_site_had_goes_with_it_and_with_the_plugin(): void {
		$site = Site::get();
		$left = static fn( string $pattern ) => $site->value( "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME LIKE '$pattern'" );
		$site->wp( 'foreach ( array( 1, 2 ) as $blog ) { switch_to_blog( $blog ); update_option( "sluice_remove_data", 1 ); restore_current_blog(); } define( "WP_UNINSTALL_PLUGIN", "sluice/sluice.php" ); require WP_PLUGIN_DIR . "/sluice/uninstall.php";' );
		$this->assertSame( '0', $left( 'wp%sluice%' ) );
		$site->send( array( 'url' => $site->url . '/two/?rest_route=/sluice/v1/callbacks', 'body' => '{}' ) );
		$this->assertSame( '7', $left( 'wp_2_sluice_%' ), 'a request to a site whose plugin is active makes them anew' );
		$site->wp( 'require_once ABSPATH . "wp-admin/includes/ms.php"; wpmu_delete_blog( 2, true );' );
		$this->assertSame( '0', $left( 'wp_2_sluice_%' ) );
	}
}
