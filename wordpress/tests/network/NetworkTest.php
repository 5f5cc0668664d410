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
	public function test_the_address_of_a_file_is_good_on_the_main_site_and_for_its_people(): void {
		$site     = Site::get();
		$uuid     = $site->value( "SELECT option_value FROM wp_2_options WHERE option_name = 'sluice_site_uuid'" );
		$file     = 'art_0193a7d4c1e87cc0a3f0c5d6e7f80912';
		$with     = array( 'artifacts' => array( array( 'type' => 'transcript', 'id' => $file, 'url' => 'https://files.example/old' ) ) );
		$one      = $site->callback( $with )['json']['post_id'];
		$two      = $site->send( array( 'url' => $site->url . '/two/?rest_route=/sluice/v1/callbacks' ) + $site->signed( Signer::body( $with ), array( 'aud' => array( 'wp', 'wp:' . $uuid ) ) ) )['json']['post_id'];
		$sessions = $site->sessions( array( 'admin', 'editor' ), array() );
		$status   = static fn( string $who, string $path, int $post ) => $site->send( array( 'method' => 'GET', 'url' => $site->url . $path . "/wp-admin/admin.php?action=sluice_file&post=$post&file=$file", 'headers' => $sessions[ $who ]['headers'] ) )['status'];
		$asked    = static fn() => preg_grep( '~/artifacts\?~', (array) @file( $site->dir . '/calls.log', FILE_IGNORE_NEW_LINES ) );
		$site->pull( 'https://gateway.example/site/v1/acme', 'a-token-of-the-test-site-of-40-bytes-len' );
		try {
			$this->assertSame( array( 404, 403 ), array( $status( 'admin', '/two', $two ), $status( 'editor', '/two', $two ) ), 'the token is not of the second site' );
			$this->assertSame( array(), $asked() );
			$this->assertSame( array( 503, 503 ), array( $status( 'admin', '', $one ), $status( 'editor', '', $one ) ) );
			$this->assertSame( array_fill( 0, 2, 'https://gateway.example/site/v1/acme/artifacts?id=' . $file ), array_values( $asked() ) );
		} finally {
			unlink( $site->dir . '/pull.json' );
		}
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
