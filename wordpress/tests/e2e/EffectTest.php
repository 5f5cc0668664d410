<?php
require_once __DIR__ . '/SiteTestCase.php';

/** Exactly one effect for each job, and people's work left alone. */
final class EffectTest extends SiteTestCase {

	public function test_twenty_copies_at_once_make_one_post_and_all_hear_of_it(): void {
		$body    = json_decode( Signer::body(), true );
		$answers = $this->site->send_all( array_map( fn() => $this->site->signed( json_encode( $body ) ), range( 1, 20 ) ) );
		$posts   = $this->site->posts();
		$this->assertCount( 1, $posts );
		$outcomes = array_count_values( array_map( static fn( array $answer ) => $answer['status'] . ' ' . ( $answer['json']['outcome'] ?? '' ), $answers ) );
		ksort( $outcomes );
		$this->assertSame( array( '200 duplicate' => 19, '201 created' => 1 ), $outcomes );
		foreach ( $answers as $answer ) {
			$this->assertSame( array( $body['job_id'], $body['fence'], (int) $posts[0]['ID'] ), array( $answer['json']['job_id'], $answer['json']['fence'], $answer['json']['post_id'] ) );
		}
	}

	public function test_twenty_jobs_of_one_subject_at_once_make_one_post_with_the_newest_text(): void {
		$key      = bin2hex( random_bytes( 32 ) );
		$requests = array_map( fn( int $n ) => $this->site->signed( Signer::body( array( 'post_key' => $key, 'occurred_at' => sprintf( '2026-11-24T08:00:%02dZ', $n ), 'title' => "Number $n" ) ) ), range( 1, 20 ) );
		shuffle( $requests );
		foreach ( $this->site->send_all( $requests ) as $answer ) {
			$this->assertContains( $answer['status'], array( 200, 201 ), $answer['body'] );
		}
		$posts = $this->site->posts();
		$this->assertSame( array( 'Number 20' ), array_column( $posts, 'post_title' ) );
		$this->assertSame( '20', $this->site->value( 'SELECT COUNT(*) FROM wp_sluice_inbox WHERE done = 1' ) );
	}

	public function test_a_draft_is_made_that_says_what_was_sent(): void {
		$answer = $this->site->callback( array( 'title' => 'Größe &lt;b&gt; &#91;gallery&#93; C:\\new', 'summary' => "One.\n\nTwo &amp; \\n three." ) );
		$this->assertOutcome( 'created', 201, $answer );
		$post = $this->site->posts()[0];
		$this->assertSame( array( 'draft', 'post', '0', 'closed' ), array( $post['post_status'], $post['post_type'], $post['post_author'], $post['comment_status'] ) );
		$this->assertSame( 'Größe &lt;b&gt; &#091;gallery&#093; C:\\new', $post['post_title'] );
		$this->assertSame( "<!-- wp:paragraph -->\n<p>One.</p>\n<!-- /wp:paragraph -->\n\n<!-- wp:paragraph -->\n<p>Two &amp; \\n three.</p>\n<!-- /wp:paragraph -->", $post['post_content'] );
	}

	public function test_a_newer_event_changes_the_post_and_an_older_one_does_not(): void {
		$key = bin2hex( random_bytes( 32 ) );
		$at  = fn( string $time, string $title ) => $this->site->callback( array( 'post_key' => $key, 'occurred_at' => $time, 'title' => $title ) );
		$this->assertOutcome( 'created', 201, $at( '2026-11-24T08:00:00.000Z', 'First' ) );
		$this->assertOutcome( 'applied', 200, $at( '2026-11-24T08:00:00.001Z', 'Newer' ) );
		$this->assertOutcome( 'stale', 200, $at( '2026-11-24T08:00:00.000Z', 'Older' ) );
		$this->assertOutcome( 'applied', 200, $at( '2026-11-24T08:00:00.001Z', 'Equal' ) );
		$this->assertSame( array( 'Equal' ), array_column( $this->site->posts(), 'post_title' ) );
		$id = $this->site->posts()[0]['ID'];
		$this->assertSame( array( 'Newer', 'Equal' ), array_column( $this->site->rows( "SELECT post_title FROM wp_posts WHERE post_parent = $id AND post_type = 'revision' ORDER BY ID" ), 'post_title' ), 'revisions are kept' );
	}

	public function test_what_a_person_changed_stays_and_the_update_waits_until_it_is_taken(): void {
		foreach ( array( 'edited' => 'wp_update_post( array( "ID" => $id, "post_content" => "Mine." ) );', 'published' => 'wp_publish_post( $id );', 'trashed' => 'wp_trash_post( $id );', 'locked' => 'wp_set_current_user( 1 ); require_once ABSPATH . "wp-admin/includes/post.php"; wp_set_post_lock( $id );' ) as $how => $code ) {
			$key = bin2hex( random_bytes( 32 ) );
			$id  = $this->site->callback( array( 'post_key' => $key ) )['json']['post_id'];
			$this->site->wp( "\$id = $id; $code" );
			$before = $this->site->rows( "SELECT * FROM wp_posts WHERE ID = $id" );
			$second = Signer::body( array( 'post_key' => $key, 'title' => 'Changed <b>', 'summary' => 'New text.' ) );
			$answer = $this->site->send( $this->site->signed( $second ) );
			$this->assertOutcome( 'proposed', 200, $answer );
			$this->assertSame( $id, $answer['json']['post_id'] );
			$this->assertSame( $before, $this->site->rows( "SELECT * FROM wp_posts WHERE ID = $id" ), $how );
			$this->assertOutcome( 'duplicate', 200, $this->site->send( $this->site->signed( $second ) ) );
			if ( 'edited' !== $how ) {
				continue;
			}
			$this->site->wp( "wp_set_current_user( 1 ); Sluice_Proposals::accept( Sluice_Proposals::for_post( $id ) );" );
			$this->assertSame( 'Changed &lt;b&gt;', $this->site->value( "SELECT post_title FROM wp_posts WHERE ID = $id" ) );
			$this->assertSame( '0', $this->site->value( 'SELECT COUNT(*) FROM wp_sluice_proposals' ) );
			$this->assertOutcome( 'applied', 200, $this->site->callback( array( 'post_key' => $key, 'title' => 'Flows again' ) ) );
		}
	}

	public function test_what_a_person_saves_in_the_very_moment_of_an_update_is_not_lost(): void {
		$key = bin2hex( random_bytes( 32 ) );
		$id  = $this->site->callback( array( 'post_key' => $key ) )['json']['post_id'];
		touch( $this->site->dir . '/slow-fields' );
		$request = $this->site->signed( Signer::body( array( 'post_key' => $key, 'summary' => 'The update.' ) ) );
		// While the plugin thinks, between what it reads and what it writes.
		$saved   = null;
		$save    = function () use ( &$saved, $id ): void {
			$saved = $this->site->query_aside( "UPDATE wp_posts SET post_content = 'Mine.' WHERE ID = $id" );
			touch( $this->site->dir . '/fields-go' );
		};
		$answer  = $this->site->send_all( array( $request ), 'fields-begun', $save )[0];
		$saved();
		$this->assertOutcome( 'applied', 200, $answer );
		$this->assertSame( 'Mine.', $this->site->value( "SELECT post_content FROM wp_posts WHERE ID = $id" ) );
		$this->assertOutcome( 'proposed', 200, $this->site->callback( array( 'post_key' => $key ) ) );
	}

	public function test_an_older_update_does_not_take_the_place_of_a_newer_one_that_waits(): void {
		$key = bin2hex( random_bytes( 32 ) );
		$id  = $this->site->callback( array( 'post_key' => $key ) )['json']['post_id'];
		$this->site->wp( "wp_update_post( array( 'ID' => $id, 'post_title' => 'Mine' ) );" );
		$this->assertOutcome( 'proposed', 200, $this->site->callback( array( 'post_key' => $key, 'occurred_at' => '2026-11-24T09:00:00Z', 'title' => 'Nine' ) ) );
		$this->assertOutcome( 'stale', 200, $this->site->callback( array( 'post_key' => $key, 'occurred_at' => '2026-11-24T08:30:00Z', 'title' => 'Half past eight' ) ) );
		$this->assertSame( 'Nine', $this->site->value( 'SELECT title FROM wp_sluice_proposals' ) );
	}

	public function test_a_post_that_was_deleted_does_not_come_back(): void {
		$key = bin2hex( random_bytes( 32 ) );
		$id  = $this->site->callback( array( 'post_key' => $key ) )['json']['post_id'];
		$this->site->wp( "wp_delete_post( $id, true );" );
		$answer = $this->site->callback( array( 'post_key' => $key ) );
		$this->assertOutcome( 'stale', 200, $answer );
		$this->assertNull( $answer['json']['post_id'] );
		$this->assertSame( array(), $this->site->posts() );
	}

	public function test_settings_of_a_type_rule_what_its_posts_are(): void {
		$this->site->wp( '$category = wp_insert_term( "News " . wp_rand(), "category" )["term_id"]; update_option( "sluice_types", array( "page_job" => array( "post_type" => "page", "status" => "pending" ), "auto" => array( "status" => "publish", "author" => get_user_by( "login", "author" )->ID, "category" => $category ), "nobody" => array( "status" => "publish" ), "weak" => array( "status" => "publish", "author" => get_user_by( "login", "subscriber" )->ID ) ) );' );
		foreach ( array( 'page_job' => array( 'page', 'pending' ), 'auto' => array( 'post', 'publish' ), 'nobody' => array( 'post', 'draft' ), 'weak' => array( 'post', 'draft' ), 'other' => array( 'post', 'draft' ) ) as $type => $expected ) {
			$id  = $this->site->callback( array( 'type' => $type ) )['json']['post_id'];
			$row = $this->site->rows( "SELECT post_type, post_status FROM wp_posts WHERE ID = $id" )[0];
			$this->assertSame( $expected, array_values( $row ), $type );
			if ( 'auto' === $type ) {
				$this->assertStringStartsWith( 'News', $this->site->wp( "return wp_get_post_categories( $id, array( 'fields' => 'names' ) )[0];" ) );
			}
		}
	}

	public function test_mode_meta_changes_nothing_of_the_post_but_our_meta(): void {
		$id = $this->site->wp( '$id = wp_insert_post( array( "post_title" => "Mine", "post_content" => "All mine.", "post_status" => "publish" ) ); update_option( "sluice_types", array( "note" => array( "mode" => "meta" ) ) ); return $id;' );
		$before = $this->site->rows( "SELECT * FROM wp_posts WHERE ID = $id" );
		$answer = $this->site->callback( array( 'type' => 'note', 'target_post_id' => $id, 'title' => 'Told', 'summary' => 'Beside <b>.', 'artifacts' => array( array( 'type' => 'report', 'url' => 'https://files.example/a', 'expires_at' => null ) ) ) );
		$this->assertOutcome( 'applied', 200, $answer );
		$this->assertSame( $before, $this->site->rows( "SELECT * FROM wp_posts WHERE ID = $id" ) );
		$this->assertSame( array( 'Told', 'Beside <b>.' ), $this->site->wp( "return array( get_post_meta( $id, '_sluice_title', true ), get_post_meta( $id, '_sluice_summary', true ) );" ) );
		foreach ( array( 999999, 0 ) as $target ) {
			$this->assertSame( 422, $this->site->callback( array( 'type' => 'note', 'target_post_id' => $target ) )['status'] );
		}
	}

	public function test_a_gateway_can_ask_for_mode_meta_where_the_settings_would_make_a_post(): void {
		$id     = $this->site->wp( 'return wp_insert_post( array( "post_title" => "Mine", "post_content" => "All mine.", "post_status" => "publish" ) );' );
		$before = $this->site->rows( "SELECT * FROM wp_posts WHERE ID = $id" );
		$this->assertOutcome( 'applied', 200, $this->site->callback( array( 'mode' => 'meta', 'target_post_id' => $id, 'title' => 'Told' ) ) );
		$this->assertSame( $before, $this->site->rows( "SELECT * FROM wp_posts WHERE ID = $id" ) );
		$this->assertSame( array( 'Told', 'meta' ), $this->site->wp( "return array( get_post_meta( $id, '_sluice_title', true ), get_post_meta( $id, '_sluice_mode', true ) );" ) );
		$page = $this->site->wp( 'return wp_insert_post( array( "post_title" => "A page", "post_type" => "page" ) );' );
		foreach ( array( 0, 999999, $page ) as $target ) {
			$this->assertSame( 422, $this->site->callback( array( 'mode' => 'meta', 'target_post_id' => $target ) )['status'], "target $target" );
		}
		$this->assertCount( 1, $this->site->posts() );
	}

	public function test_a_site_killed_in_the_midst_has_no_half_effect_and_the_next_attempt_has_the_whole(): void {
		$job = array( 'job_id' => 'job_' . bin2hex( random_bytes( 16 ) ), 'post_key' => bin2hex( random_bytes( 32 ) ) );
		foreach ( array( 'die' => 0, 'throw' => 500 ) as $fault => $status ) {
			$this->site->fault( $fault );
			$this->assertSame( $status, $this->site->callback( $job )['status'], $fault );
			$this->assertSame( array(), $this->site->posts(), $fault );
			$this->assertSame( '0', $this->site->value( 'SELECT COUNT(*) FROM wp_sluice_outbox' ) );
		}
		$this->assertOutcome( 'created', 201, $this->site->callback( $job ) );
		$this->assertOutcome( 'duplicate', 200, $this->site->callback( $job ) );
		$this->assertCount( 1, $this->site->posts() );
	}

	public function test_a_transaction_that_the_database_undid_is_done_again_as_a_whole(): void {
		$this->site->fault( 'deadlock' );
		$this->assertOutcome( 'created', 201, $this->site->callback() );
		$this->assertCount( 1, $this->site->posts() );
		$this->assertSame( array( '1', '1' ), array( $this->site->value( 'SELECT COUNT(*) FROM wp_sluice_inbox WHERE done = 1' ), $this->site->value( 'SELECT COUNT(*) FROM wp_sluice_subjects WHERE post_id > 0' ) ) );
	}

	public function test_an_older_attempt_waits_while_a_newer_one_runs_and_hears_of_its_effect_afterwards(): void {
		$job   = json_decode( Signer::body(), true );
		$older = json_encode( array( 'fence' => 1 ) + $job );
		// A newer attempt has begun and not ended.
		$this->site->query( "INSERT INTO wp_sluice_inbox (job_id, fence, received_at) VALUES ('{$job['job_id']}', 5, 0)" );
		$answer = $this->site->send( $this->site->signed( $older ) );
		$this->assertSame( array( 409, 'sluice_newer_attempt' ), array( $answer['status'], $answer['json']['code'] ) );
		$this->assertSame( array(), $this->site->posts() );
		$this->assertOutcome( 'created', 201, $this->site->send( $this->site->signed( json_encode( array( 'fence' => 5 ) + $job ) ) ) );
		$answer = $this->site->send( $this->site->signed( $older ) );
		$this->assertOutcome( 'duplicate', 200, $answer );
		$this->assertSame( 1, $answer['json']['fence'] );
	}
}
