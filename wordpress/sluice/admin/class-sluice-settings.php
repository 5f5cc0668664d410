<?php
/**
 * The settings page.
 *
 * @package Sluice
 */

defined( 'ABSPATH' ) || exit;

/**
 * Keys, job types, housekeeping, self-test.
 */
final class Sluice_Settings {

	/** Hooks. */
	public static function hooks(): void {
		add_action( 'admin_init', array( self::class, 'register' ) );
		add_filter( 'option_page_capability_sluice', array( self::class, 'capability' ) );
	}

	/** Who may save. */
	public static function capability(): string {
		return Sluice_Caps::MANAGE;
	}

	/** Registers the options with what they accept. */
	public static function register(): void {
		$options = array(
			'sluice_keys'           => array( array( self::class, 'keys' ), array() ),
			'sluice_jwks_url'       => array( array( self::class, 'url' ), '' ),
			'sluice_gateway'        => array( array( self::class, 'pin' ), '' ),
			'sluice_tenant'         => array( array( self::class, 'pin' ), '' ),
			'sluice_types'          => array( array( self::class, 'types' ), array() ),
			'sluice_retention_days' => array( array( self::class, 'days' ), 180 ),
			'sluice_remove_data'    => array( 'absint', 0 ),
		);
		foreach ( $options as $name => list( $sanitize, $default ) ) {
			register_setting(
				'sluice',
				$name,
				array(
					'sanitize_callback' => $sanitize,
					'show_in_rest'      => false,
					'default'           => $default,
				)
			);
		}
	}

	/**
	 * Pasted keys. What is no key set is refused, and what was in force stays.
	 *
	 * @param mixed $value Text from the form, or keys from code.
	 */
	public static function keys( mixed $value ): array {
		$now = get_option( 'sluice_keys', array() );
		$now = is_array( $now ) ? $now : array();
		if ( is_array( $value ) ) {
			return array_filter( $value, 'is_string' );
		}
		if ( Sluice_Keys::is_fixed() || ! is_string( $value ) || '' === trim( $value ) ) {
			return $now;
		}
		$keys = Sluice_Token::keys( $value );
		if ( ! is_array( $keys ) ) {
			add_settings_error( 'sluice_keys', 'sluice_keys', Sluice_Keys::problem( $keys ) );
			return $now;
		}
		return $keys;
	}

	/**
	 * Where keys are fetched.
	 *
	 * @param mixed $value From the form.
	 */
	public static function url( mixed $value ): string {
		$url = is_string( $value ) ? esc_url_raw( trim( $value ), array( 'https', 'http' ) ) : '';
		if ( '' !== $url && ! Sluice_Keys::may_fetch( $url ) ) {
			add_settings_error( 'sluice_jwks_url', 'sluice_jwks_url', __( 'The address of the keys must begin with https://.', 'sluice' ) );
			return (string) get_option( 'sluice_jwks_url', '' );
		}
		return $url;
	}

	/**
	 * The gateway's or tenant's name.
	 *
	 * @param mixed $value From the form.
	 */
	public static function pin( mixed $value ): string {
		return is_string( $value ) ? mb_substr( sanitize_text_field( $value ), 0, 200, 'UTF-8' ) : '';
	}

	/**
	 * Days.
	 *
	 * @param mixed $value From the form.
	 */
	public static function days( mixed $value ): int {
		return min( 3650, max( 7, (int) $value ) );
	}

	/**
	 * Settings of job types.
	 *
	 * @param mixed $value Rows of the form, or types by name from code.
	 */
	public static function types( mixed $value ): array {
		$types = array();
		foreach ( is_array( $value ) ? $value : array() as $key => $row ) {
			if ( ! is_array( $row ) ) {
				continue;
			}
			$name = trim( (string) ( $row['name'] ?? $key ) );
			if ( '' === $name ) {
				continue;
			}
			if ( '*' !== $name && 1 !== preg_match( '/^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/D', $name ) ) {
				add_settings_error( 'sluice_types', 'sluice_types', __( 'A job type may have letters, digits, and the characters _ . -', 'sluice' ) );
				continue;
			}
			$types[ $name ] = self::type( $row );
		}
		return $types;
	}

	/**
	 * Settings of one type.
	 *
	 * @param array $row From the form.
	 */
	private static function type( array $row ): array {
		$post_type = sanitize_key( (string) ( $row['post_type'] ?? '' ) );
		$status    = sanitize_key( (string) ( $row['status'] ?? '' ) );
		$author    = absint( $row['author'] ?? 0 );
		$type      = array(
			'mode'      => 'meta' === ( $row['mode'] ?? '' ) ? 'meta' : 'post',
			'post_type' => isset( self::post_types()[ $post_type ] ) ? $post_type : 'post',
			'status'    => in_array( $status, array( 'draft', 'pending', 'publish' ), true ) ? $status : 'draft',
			'author'    => get_userdata( $author ) ? $author : 0,
			'category'  => absint( $row['category'] ?? 0 ),
			'template'  => sanitize_text_field( (string) ( $row['template'] ?? '' ) ),
			'target'    => absint( $row['target'] ?? 0 ),
		);
		$object    = get_post_type_object( $type['post_type'] );
		if ( 'publish' === $type['status'] && ( ! $type['author'] || ! user_can( $type['author'], $object->cap->publish_posts ) ) ) {
			add_settings_error( 'sluice_types', 'sluice_types', __( 'To publish without a person looking, name an author who may publish. Drafts are made until then.', 'sluice' ) );
			$type['status'] = 'draft';
		}
		return $type;
	}

	/**
	 * Types of posts that jobs may write.
	 *
	 * @return array<string,string>
	 */
	private static function post_types(): array {
		$types = array();
		foreach ( get_post_types( array( 'show_ui' => true ), 'objects' ) as $name => $object ) {
			if ( ! in_array( $name, array( 'attachment', 'wp_block', 'wp_template', 'wp_template_part', 'wp_navigation', 'wp_global_styles' ), true ) && post_type_supports( $name, 'editor' ) ) {
				$types[ $name ] = $object->labels->singular_name;
			}
		}
		return $types;
	}

	/** The page. */
	public static function render(): void {
		if ( ! current_user_can( Sluice_Caps::MANAGE ) ) {
			return;
		}
		echo '<div class="wrap"><h1>' . esc_html__( 'Sluice settings', 'sluice' ) . '</h1>';
		Sluice_Admin::notice();
		self::connection();
		echo '<form method="post" action="' . esc_url( admin_url( 'options.php' ) ) . '">';
		settings_fields( 'sluice' );
		self::keys_section();
		self::types_section();
		self::housekeeping_section();
		submit_button();
		echo '</form></div>';
	}

	/** What goes into the gateway's tenant file, and how it goes. */
	private static function connection(): void {
		$seen    = Sluice_Options::seen();
		$refused = Sluice_Options::last_refusal();
		$test    = Sluice_Requests::last_self_test();
		echo '<h2>' . esc_html__( 'Connection', 'sluice' ) . '</h2><table class="form-table" role="presentation">';
		self::fact( __( 'For the gateway', 'sluice' ), '<pre class="sluice-config" dir="ltr">[wordpress]' . "\n" . 'site = "' . esc_html( untrailingslashit( home_url() ) ) . '"' . "\n" . 'site_uuid = "' . esc_html( Sluice_Options::site_uuid() ) . '"</pre>' );
		/* translators: 1: a time such as "5 minutes ago", 2: a header's name. */
		$heard = $seen['at'] ? sprintf( __( '%1$s, by the header %2$s', 'sluice' ), Sluice_Screen::ago( $seen['at'] ), $seen['header'] ) : __( 'not yet', 'sluice' );
		self::fact( __( 'Gateway heard', 'sluice' ), esc_html( $heard ) );
		if ( Sluice_Pull::is_on() ) {
			self::fact( __( 'Gateway asked', 'sluice' ), esc_html( self::pull_text() ) );
		}
		if ( $refused['at'] ) {
			self::fact( __( 'Last refusal', 'sluice' ), esc_html( Sluice_Screen::ago( $refused['at'] ) . ': ' . Sluice_Words::refusal( $refused['reason'] ) ) );
		}
		$state = $test ? $test->state : '';
		self::fact(
			__( 'Self-test', 'sluice' ),
			'<p id="sluice-self-test" role="status" aria-live="polite" data-state="' . esc_attr( $state ) . '">' . esc_html( $test ? self::self_test_text( $test ) : __( 'Asks the gateway to call back with a signed request, over the same way that results take.', 'sluice' ) ) . '</p>' . Sluice_Admin::button( 'self_test', '0', __( 'Run the self-test', 'sluice' ) )
		);
		if ( ! Sluice_Keys::is_fixed() && ( Sluice_Pull::is_on() || '' !== (string) get_option( 'sluice_jwks_url', '' ) ) ) {
			self::fact( __( 'Keys', 'sluice' ), Sluice_Admin::button( 'fetch_keys', '0', __( 'Fetch the keys now', 'sluice' ) ) );
		}
		echo '</table>';
	}

	/** How it went when this site asked the gateway. */
	private static function pull_text(): string {
		$state = Sluice_Pull::state();
		if ( ! $state['at'] ) {
			return __( 'not yet', 'sluice' );
		}
		return Sluice_Screen::ago( $state['at'] ) . ( '' === $state['error'] ? '' : ': ' . $state['error'] );
	}

	/**
	 * How a self-test went.
	 *
	 * @param object $test The request.
	 */
	public static function self_test_text( object $test ): string {
		return match ( $test->state ) {
			/* translators: 1: seconds, 2: a time such as "5 minutes ago". */
			'done'    => sprintf( __( 'Good: asked, and called back with a genuine signature after %1$d s (%2$s).', 'sluice' ), max( 0, $test->answered_at - $test->created_at ), Sluice_Screen::ago( (int) $test->answered_at ) ),
			'taken'   => __( 'The gateway has taken the request and is about to call back.', 'sluice' ),
			'waiting' => __( 'Waiting for the gateway’s next report. If it does not come within a minute, see “Last refusal” here and the gateway’s log.', 'sluice' ),
			default   => __( 'Failed: the gateway did not call back.', 'sluice' ),
		};
	}

	/** Keys. */
	private static function keys_section(): void {
		$keys = Sluice_Keys::usable();
		echo '<h2>' . esc_html__( 'Keys of the gateway', 'sluice' ) . '</h2><table class="form-table" role="presentation">';
		$list = '';
		foreach ( array_keys( $keys ) as $kid ) {
			$list .= '<li><code dir="ltr">' . esc_html( (string) $kid ) . '</code></li>';
		}
		self::fact( __( 'In force', 'sluice' ), $list ? '<ul>' . $list . '</ul>' : esc_html__( 'none: everything is refused', 'sluice' ) );
		if ( Sluice_Keys::is_fixed() ) {
			self::fact( __( 'Set by', 'sluice' ), '<code>SLUICE_JWKS</code> ' . esc_html__( 'in wp-config.php, which wins over what is set here.', 'sluice' ) );
			echo '</table>';
			return;
		}
		self::field( 'sluice_keys', __( 'Paste keys', 'sluice' ), '<textarea name="sluice_keys" id="sluice_keys" dir="ltr" rows="4" class="large-text code" spellcheck="false" aria-describedby="sluice_keys_help"></textarea><p class="description" id="sluice_keys_help">' . esc_html__( 'What the gateway shows at /.well-known/jwks.json. Leave empty to keep the keys in force.', 'sluice' ) . '</p>' );
		$state = Sluice_Keys::fetch_state();
		/* translators: %s: a time such as "5 minutes ago". */
		$said = $state['at'] ? sprintf( __( 'Last fetched %s.', 'sluice' ), Sluice_Screen::ago( $state['at'] ) ) . ' ' . $state['error'] : '';
		self::field( 'sluice_jwks_url', __( 'Or fetch them from', 'sluice' ), '<input type="url" name="sluice_jwks_url" id="sluice_jwks_url" dir="ltr" class="regular-text code" value="' . esc_attr( (string) get_option( 'sluice_jwks_url', '' ) ) . '" placeholder="https://…/.well-known/jwks.json"><p class="description">' . esc_html__( 'Fetched each hour, never while a request waits.', 'sluice' ) . ' ' . esc_html( $said ) . '</p>' );
		self::field( 'sluice_gateway', __( 'Accept only from gateway', 'sluice' ), '<input type="text" name="sluice_gateway" id="sluice_gateway" dir="ltr" class="regular-text code" value="' . esc_attr( (string) get_option( 'sluice_gateway', '' ) ) . '"><p class="description">' . esc_html__( 'Its public_url; leave empty to accept whoever holds a key above.', 'sluice' ) . '</p>' );
		self::field( 'sluice_tenant', __( 'Accept only for tenant', 'sluice' ), '<input type="text" name="sluice_tenant" id="sluice_tenant" dir="ltr" class="regular-text code" value="' . esc_attr( (string) get_option( 'sluice_tenant', '' ) ) . '">' );
		echo '</table>';
	}

	/** Job types. */
	private static function types_section(): void {
		$types   = Sluice_Options::types();
		$types[] = array( 'name' => '' ) + Sluice_Options::DEFAULT_TYPE;
		echo '<h2>' . esc_html__( 'What becomes of results', 'sluice' ) . '</h2><p>' . esc_html__( 'By the job’s type, as the gateway’s route names it; * is for all others. A type without a name is removed.', 'sluice' ) . '</p>';
		$row = 0;
		foreach ( $types as $name => $type ) {
			$name = $type['name'] ?? $name;
			/* translators: %s: a job type. */
			$legend = '' === $name ? __( 'Another type', 'sluice' ) : sprintf( __( 'Type %s', 'sluice' ), $name );
			$field  = "sluice_types[$row]";
			$id     = "sluice_type_$row";
			echo '<fieldset class="sluice-type"><legend>' . esc_html( $legend ) . '</legend>';
			if ( '*' === $name ) {
				echo '<input type="hidden" name="' . esc_attr( $field . '[name]' ) . '" value="*">';
			} else {
				self::inline( $id . '_name', __( 'Type', 'sluice' ), '<input type="text" name="' . esc_attr( $field . '[name]' ) . '" id="' . esc_attr( $id . '_name' ) . '" value="' . esc_attr( (string) $name ) . '">' );
			}
			$modes = array(
				'post' => __( 'a post of its own', 'sluice' ),
				'meta' => __( 'kept beside an existing post', 'sluice' ),
			);
			$states = array(
				'draft'   => __( 'draft', 'sluice' ),
				'pending' => __( 'pending review', 'sluice' ),
				'publish' => __( 'published at once', 'sluice' ),
			);
			self::inline( $id . '_mode', __( 'Becomes', 'sluice' ), self::select( $field . '[mode]', $id . '_mode', $modes, $type['mode'] ) );
			self::inline( $id . '_post_type', __( 'Kind of post', 'sluice' ), self::select( $field . '[post_type]', $id . '_post_type', self::post_types(), $type['post_type'] ) );
			self::inline( $id . '_status', __( 'As', 'sluice' ), self::select( $field . '[status]', $id . '_status', $states, $type['status'] ) );
			self::inline( $id . '_author', __( 'Author', 'sluice' ), self::authors( $field . '[author]', $id . '_author', (int) $type['author'] ) );
			self::inline( $id . '_category', __( 'Category', 'sluice' ), self::categories( $field . '[category]', $id . '_category', (int) $type['category'] ) );
			self::inline( $id . '_template', __( 'Template', 'sluice' ), '<input type="text" name="' . esc_attr( $field . '[template]' ) . '" id="' . esc_attr( $id . '_template' ) . '" value="' . esc_attr( $type['template'] ) . '">' );
			self::inline( $id . '_target', __( 'Existing post (id)', 'sluice' ), '<input type="number" min="0" name="' . esc_attr( $field . '[target]' ) . '" id="' . esc_attr( $id . '_target' ) . '" value="' . esc_attr( (string) $type['target'] ) . '">' );
			echo '</fieldset>';
			++$row;
		}
	}

	/** Housekeeping. */
	private static function housekeeping_section(): void {
		echo '<h2>' . esc_html__( 'Housekeeping', 'sluice' ) . '</h2><table class="form-table" role="presentation">';
		self::field( 'sluice_retention_days', __( 'Keep finished jobs (days)', 'sluice' ), '<input type="number" min="7" max="3650" name="sluice_retention_days" id="sluice_retention_days" value="' . esc_attr( (string) Sluice_Options::retention_days() ) . '">' );
		$remove  = (int) get_option( 'sluice_remove_data', 0 );
		$choices = array(
			0 => __( 'keep jobs, settings and keys', 'sluice' ),
			1 => __( 'delete them; posts stay', 'sluice' ),
		);
		self::field( 'sluice_remove_data', __( 'When the plugin is deleted', 'sluice' ), self::select( 'sluice_remove_data', 'sluice_remove_data', $choices, $remove ) );
		echo '</table>';
	}

	/**
	 * A row that shows something.
	 *
	 * @param string $label Its name.
	 * @param string $html  Escaped HTML.
	 */
	private static function fact( string $label, string $html ): void {
		echo '<tr><th scope="row">' . esc_html( $label ) . '</th><td>' . $html . '</td></tr>'; // phpcs:ignore WordPress.Security.EscapeOutput.OutputNotEscaped -- escaped by the caller.
	}

	/**
	 * A row with a field.
	 *
	 * @param string $id    The field's id.
	 * @param string $label Its name.
	 * @param string $html  Escaped HTML.
	 */
	private static function field( string $id, string $label, string $html ): void {
		echo '<tr><th scope="row"><label for="' . esc_attr( $id ) . '">' . esc_html( $label ) . '</label></th><td>' . $html . '</td></tr>'; // phpcs:ignore WordPress.Security.EscapeOutput.OutputNotEscaped -- escaped by the caller.
	}

	/**
	 * A field within a line.
	 *
	 * @param string $id    The field's id.
	 * @param string $label Its name.
	 * @param string $html  Escaped HTML.
	 */
	private static function inline( string $id, string $label, string $html ): void {
		echo '<span class="sluice-field"><label for="' . esc_attr( $id ) . '">' . esc_html( $label ) . '</label>' . $html . '</span>'; // phpcs:ignore WordPress.Security.EscapeOutput.OutputNotEscaped -- escaped by the caller.
	}

	/**
	 * A choice.
	 *
	 * @param string                   $name    The field.
	 * @param string                   $id      Its id.
	 * @param array<string|int,string> $choices Labels by value.
	 * @param string|int               $now     The present value.
	 */
	private static function select( string $name, string $id, array $choices, string|int $now ): string {
		$html = '<select name="' . esc_attr( $name ) . '" id="' . esc_attr( $id ) . '">';
		foreach ( $choices as $value => $label ) {
			$html .= '<option value="' . esc_attr( (string) $value ) . '"' . selected( (string) $now, (string) $value, false ) . '>' . esc_html( $label ) . '</option>';
		}
		return $html . '</select>';
	}

	/**
	 * The choice of an author.
	 *
	 * @param string $name The field.
	 * @param string $id   Its id.
	 * @param int    $now  The present author.
	 */
	private static function authors( string $name, string $id, int $now ): string {
		return wp_dropdown_users(
			array(
				'name'              => $name,
				'id'                => $id,
				'selected'          => $now,
				'show_option_none'  => __( 'nobody', 'sluice' ),
				'option_none_value' => 0,
				'capability'        => 'edit_posts',
				'echo'              => false,
			)
		);
	}

	/**
	 * The choice of a category.
	 *
	 * @param string $name The field.
	 * @param string $id   Its id.
	 * @param int    $now  The present category.
	 */
	private static function categories( string $name, string $id, int $now ): string {
		return wp_dropdown_categories(
			array(
				'name'              => $name,
				'id'                => $id,
				'selected'          => $now,
				'show_option_none'  => __( 'the default', 'sluice' ),
				'option_none_value' => 0,
				'hide_empty'        => false,
				'echo'              => false,
			)
		);
	}
}
