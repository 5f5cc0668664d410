<?php
require_once __DIR__ . '/SiteTestCase.php';

/** Who may do what: each action, for each person, with each kind of nonce. */
final class RightsTest extends SiteTestCase {

	private const PEOPLE = array( '', 'subscriber', 'author', 'editor', 'admin' );
	private const JOB    = 'job_0123456789abcdef0123456789abcdef';

	private int $post = 0;

	/**
	 * What each action changes (0 or 1), how that is undone, who may, its nonce, and how it is sent. One that
	 * class-sluice-admin.php takes and this does not have fails below.
	 */
	private function actions(): array {
		$post    = $this->post;
		$request = static fn( string $kind ) => array(
			'done' => "SELECT COUNT(*) FROM wp_sluice_requests WHERE kind = '$kind'",
			'undo' => array( 'TRUNCATE wp_sluice_requests' ),
		);
		$option  = static fn( string $name ) => array(
			'done' => "SELECT COUNT(*) FROM wp_options WHERE option_name = '$name' AND option_value <> ''",
			'undo' => array( "DELETE FROM wp_options WHERE option_name = '$name'" ),
		);
		$again   = array( "UPDATE wp_posts SET post_title = 'Mine' WHERE ID = $post", 'REPLACE INTO wp_sluice_proposals SELECT * FROM kept' );
		$ours    = static fn( string $what, string $id ) => array(
			'nonce'  => "sluice_{$what}_$id",
			'path'   => '/wp-admin/admin-post.php',
			'fields' => array( 'action' => 'sluice', 'what' => $what, 'id' => $id ),
		);
		$editors = array( 'may' => array( 'editor', 'admin' ) );
		$admins  = array( 'may' => array( 'admin' ) );
		return array(
			'retry'      => $editors + $request( 'retry' ) + $ours( 'retry', self::JOB ),
			'dismiss'    => $editors + $request( 'dismiss' ) + $ours( 'dismiss', self::JOB ),
			'self_test'  => $admins + $request( 'self_test' ) + $ours( 'self_test', '0' ),
			'fetch_keys' => $admins + $option( 'sluice_jwks_state' ) + $ours( 'fetch_keys', '0' ),
			'accept'     => $editors + array( 'done' => "SELECT COUNT(*) FROM wp_posts WHERE ID = $post AND post_title = 'Newer'", 'undo' => $again ) + $ours( 'accept', (string) $post ),
			'decline'    => $editors + array( 'done' => "SELECT 1 - COUNT(*) FROM wp_sluice_proposals WHERE post_id = $post", 'undo' => $again ) + $ours( 'decline', (string) $post ),
			'settings'   => $admins + $option( 'sluice_tenant' ) + array( 'nonce' => 'sluice-options', 'path' => '/wp-admin/options.php', 'fields' => array( 'option_page' => 'sluice', 'action' => 'update', 'sluice_jwks_url' => 'http://127.0.0.1:9/', 'sluice_tenant' => 'acme' ) ),
		);
	}

	/** A dead job, and a post whose update waits. */
	protected function setUp(): void {
		parent::setUp();
		$this->site->wp( 'update_option( "sluice_jwks_url", "http://127.0.0.1:9/" );' );
		$this->site->report( array( array( 'job_id' => self::JOB, 'type' => 'x', 'source' => 'x', 'route' => 'x', 'state' => 'deadletter', 'attempts' => 1, 'updated_at' => '2026-11-24T08:00:00Z' ) ) );
		$key        = bin2hex( random_bytes( 32 ) );
		$this->post = $this->site->callback( array( 'post_key' => $key ) )['json']['post_id'];
		$this->site->query( "UPDATE wp_posts SET post_title = 'Mine' WHERE ID = $this->post" );
		$this->assertOutcome( 'proposed', 200, $this->site->callback( array( 'post_key' => $key, 'title' => 'Newer' ) ) );
		$this->site->query( 'CREATE TEMPORARY TABLE IF NOT EXISTS kept LIKE wp_sluice_proposals' );
		$this->site->query( 'DELETE FROM kept' );
		$this->site->query( 'INSERT INTO kept SELECT * FROM wp_sluice_proposals' );
	}

	public function test_each_action_is_for_those_who_may_with_its_own_nonce(): void {
		$actions  = $this->actions();
		$sessions = $this->site->sessions( self::PEOPLE, array( ...array_column( $actions, 'nonce' ), 'sluice_retry_job_other', 'wp_rest' ) );
		foreach ( $actions as $name => $action ) {
			foreach ( $sessions as $person => $session ) {
				$send   = fn( string $nonce ) => $this->site->form( $action['path'], $action['fields'] + ( '' === $nonce ? array() : array( '_wpnonce' => $nonce ) ), $session );
				$nonces = array(
					'none'              => '',
					'of something else' => $session['nonces']['sluice_retry_job_other'],
					'of a reading'      => $session['nonces']['wp_rest'],
					'of somebody else'  => $sessions[ 'admin' === $person ? 'editor' : 'admin' ]['nonces'][ $action['nonce'] ],
				);
				$answers = $this->site->send_all( array_map( $send, $nonces ) );
				$case    = "$name by '$person'";
				// Nobody is sent to the door, or told that there is no such thing.
				$refused = '' === $person ? array( 302, 400 ) : array( 403 );
				foreach ( array_keys( $nonces ) as $at => $kind ) {
					$this->assertContains( $answers[ $at ]['status'], $refused, "$case with a nonce: $kind" );
				}
				$this->assertSame( '0', $this->site->value( $action['done'] ), "$case with a nonce of another kind" );
				$may    = in_array( $person, $action['may'], true );
				$answer = $this->site->send( $send( $session['nonces'][ $action['nonce'] ] ) );
				$this->assertSame( $may ? '1' : '0', $this->site->value( $action['done'] ), "$case: $answer[status]" );
				$this->assertContains( $answer['status'], $may ? array( 302 ) : $refused, $case );
				array_map( array( $this->site, 'query' ), $action['undo'] );
				$this->assertSame( '0', $this->site->value( $action['done'] ), "$case is undone" );
			}
		}
	}

	public function test_the_table_has_every_action_that_there_is(): void {
		$source = file_get_contents( SLUICE_SOURCE . '/admin/class-sluice-admin.php' );
		$this->assertSame( 1, preg_match( '/\$said = match \( \$what \) \{(.*?)\};/s', $source, $match ) );
		preg_match_all( "/'([a-z_]+)'/", $match[1], $taken );
		$this->assertEqualsCanonicalizing( $taken[1], array_diff( array_keys( $this->actions() ), array( 'settings' ) ) );
	}

	public function test_each_page_and_reading_is_for_those_who_may(): void {
		$readings = array(
			'/wp-admin/admin.php?page=sluice'                    => array( 'editor', 'admin' ),
			'/wp-admin/options-general.php?page=sluice-settings' => array( 'admin' ),
			'/?rest_route=/sluice/v1/jobs'                       => array( 'editor', 'admin' ),
			'/?rest_route=/sluice/v1/self-test'                  => array( 'admin' ),
		);
		foreach ( $this->site->sessions( self::PEOPLE, array( 'wp_rest' ) ) as $person => $session ) {
			foreach ( $readings as $path => $may ) {
				$rest = str_contains( $path, 'rest_route' );
				$read = fn( array $headers ) => array( 'method' => 'GET', 'url' => $this->site->url . $path, 'headers' => array_merge( $session['headers'], $headers ) );
				list( $with, $without, $forged ) = $this->site->send_all( array( $read( $rest ? array( 'X-WP-Nonce: ' . $session['nonces']['wp_rest'] ) : array() ), $read( array() ), $read( array( 'X-WP-Nonce: 0123456789' ) ) ) );
				$allowed = in_array( $person, $may, true );
				$this->assertSame( $allowed, 200 === $with['status'], "$path by '$person': $with[status]" );
				if ( ! $allowed ) {
					$this->assertStringNotContainsString( self::JOB, $with['body'], "$path by '$person'" );
				}
				if ( $rest ) {
					$this->assertSame( array( 401, 403 ), array( $without['status'], $forged['status'] ), "$path by '$person': a stranger's page may have sent it" );
				}
			}
		}
	}
}
